"""Events on their way from the engine's thread to whoever reads them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from engine.types import Event


class EventBuffer:
    """A queue that is filled and emptied by the handful, so that a reader is not woken for every token.

    It takes whatever comes; whoever fills it looks first whether it is full, and computes nothing more while it is.
    """

    def __init__(self, capacity: int) -> None:
        """
        Args:
            capacity: events from which on it is full.
        """
        self._capacity = capacity
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether the reader has fallen behind."""
        return len(self._events) >= self._capacity

    def put(self, events: Sequence[Event]) -> None:
        """Take in some events."""
        with self._changed:
            self._events.extend(events)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> list[Event]:
        """All events that are there; waits so long for the first. Empty if there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout_s)
            events = list(self._events)
            self._events.clear()
            return events
