"""Who is here: what is kept for somebody is let go of once they have been away for a while."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic

from engine.errors import GearboxError

_log = logging.getLogger(__name__)


class Attendance:
    """Counts each person's open pages. Safe to use from any thread.

    One thread sleeps until the first of those who have left has been away for long enough; while nobody is away, until
    somebody leaves.
    """

    def __init__(self, forget: Callable[[str], object], *, away_s: float) -> None:
        """Call ``forget`` with each person who has had no page open for so many seconds, once each time."""
        self._forget = forget
        self._away_s = away_s
        self._here: Counter[str] = Counter()
        self._left: dict[str, float] = {}
        """When each of those who are away was last here, the first to have left first."""
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="attendance", daemon=True)
        self._thread.start()

    def arrive(self, person: str) -> Callable[[], None]:
        """Somebody opens a page; what this returns is called, once or oftener, when it is closed."""
        left = threading.Event()
        with self._changed:
            self._here[person] += 1
            self._left.pop(person, None)

        def leave() -> None:
            with self._changed:
                if left.is_set():
                    return
                left.set()
                self._here[person] -= 1
                if self._here[person]:
                    return
                del self._here[person]
                self._left[person] = monotonic()
                self._changed.notify()

        return leave

    def close(self) -> None:
        """Forget nobody any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        while (person := self._next_gone()) is not None:
            try:
                self._forget(person)
            except GearboxError as error:  # without an engine, there is nothing of theirs
                _log.warning("What was kept for somebody who has left could not be let go of: %s", error)

    def _next_gone(self) -> str | None:
        """Wait for somebody who has been away for long enough; ``None`` once this is closed."""
        with self._changed:
            while not self._closed:
                first = next(iter(self._left), None)
                if first is None:
                    self._changed.wait()
                    continue
                remaining_s = self._left[first] + self._away_s - monotonic()
                if remaining_s <= 0:
                    del self._left[first]
                    return first
                self._changed.wait(remaining_s)
            return None
