"""The store's own thread: it writes what waits as soon as that is possible, and looks after dead processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from app.store.database.errors import StoreError
from app.store.outbox.outbox import Outbox

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 15.0
LOOK_AROUND_EVERY_S = 20.0
"""How often the runs of dead processes are looked for."""
GO_ON_AFTER_S = 0.5
"""How soon it is looked again where there was more to do."""


class Keeper:
    """Retries with growing pauses; a thread that never outlives the process."""

    def __init__(self, outbox: Outbox, look_around: Callable[[], bool]) -> None:
        """``look_around`` is called now and then, and soon again if it says that there is more to do; a `StoreError`
        of it is put off to the next time."""
        self._outbox = outbox
        self._look_around = look_around
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="run database", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and try a last time to write what waits."""
        self._closed.set()
        self._outbox.came.set()
        self._thread.join()
        with suppress(StoreError):
            self._outbox.deliver()

    def _run(self) -> None:
        pause_s = FIRST_RETRY_S
        look_due = monotonic() + LOOK_AROUND_EVERY_S
        while not self._closed.is_set():
            waits = self._outbox.waiting is not None
            left_s = max(0.0, look_due - monotonic())
            if waits:
                self._closed.wait(min(pause_s, left_s))
            elif self._outbox.came.wait(left_s):
                self._outbox.came.clear()
                pause_s = FIRST_RETRY_S
                continue
            if self._closed.is_set():
                return
            if waits:
                pause_s = FIRST_RETRY_S if self._delivered() else min(2 * pause_s, LONGEST_RETRY_S)
            if monotonic() >= look_due:
                more = False
                try:
                    more = self._look_around()
                except StoreError as error:
                    _log.info("The runs of other processes could not be looked at: %s", error)
                look_due = monotonic() + (GO_ON_AFTER_S if more else LOOK_AROUND_EVERY_S)

    def _delivered(self) -> bool:
        try:
            self._outbox.deliver()
        except StoreError as error:
            _log.info("Results wait on: %s", error)
            return False
        _log.info("All results that waited are written.")
        return True
