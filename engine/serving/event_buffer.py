"""Events on their way from the engine's thread to whoever reads them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from engine.types import Event


class EventBuffer:
    """A bounded queue that is filled and emptied by the handful, so that a reader is not woken for every token."""

    def __init__(self, capacity: int) -> None:
        """
        Args:
            capacity: events from which on nothing more is taken in until some are read.
        """
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()

    def put(self, events: Sequence[Event], timeout_s: float = 0.0) -> bool:
        """Take in some events, all of them or none; waits so long for room. Says whether they were."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._events) < self._capacity, timeout_s):
                return False
            self._events.extend(events)
            self._changed.notify_all()
            return True

    def drop_oldest(self, count: int) -> None:
        """Make room for so many."""
        with self._changed:
            for _ in range(min(count, len(self._events))):
                self._events.popleft()

    def get(self, timeout_s: float) -> list[Event]:
        """All events that are there; waits so long for the first. Empty if there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout_s)
            events = list(self._events)
            self._events.clear()
            self._changed.notify_all()
            return events
