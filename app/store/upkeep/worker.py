"""A thread for what takes long: in small steps, with pauses, so that nobody waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from time import monotonic

from app.store.database.errors import StoreError

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0
"""How often it is looked whether there is something to do."""
_LEAST_PAUSE_S = 0.02


class UpkeepWorker:
    """Takes one step of each task in turn; a thread that never outlives the process."""

    def __init__(self, tasks: Mapping[str, Callable[[], bool]]) -> None:
        """Each task, by what it does, takes a step when it is called, and says whether there is more to do. A
        `StoreError` of it is put off to the next time."""
        self._tasks = tasks
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep of the run database", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread after the step that it is taking."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = LOOK_EVERY_S  # a start has enough to do
        while not self._closed.wait(pause_s):
            began = monotonic()
            more = False
            for what, step in self._tasks.items():
                more |= not self._closed.is_set() and self._step(what, step)
            # while there is more, half of the time is left to others
            pause_s = max(_LEAST_PAUSE_S, monotonic() - began) if more else LOOK_EVERY_S

    def _step(self, what: str, step: Callable[[], bool]) -> bool:
        try:
            return step()
        except StoreError as error:
            _log.info("%s is put off: %s", what, error)
            return False
