"""How many tokens come now, over all runs that this process keeps."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

WINDOW_S = 10.0
"""What "now" is."""


class Throughput:
    """Counts tokens as they come. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` tells seconds that only grow."""
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()
        """Each second in which tokens came, and how many."""
        self._lock = threading.Lock()

    def count(self, tokens: int) -> None:
        """So many have come."""
        second = int(self._clock())
        with self._lock:
            if self._seconds and self._seconds[-1][0] == second:
                second, before = self._seconds.pop()
                tokens += before
            self._seconds.append((second, tokens))
            while self._seconds[0][0] < second - WINDOW_S:
                self._seconds.popleft()

    @property
    def per_second(self) -> float:
        """Tokens per second over the last whole `WINDOW_S`."""
        present = int(self._clock())
        with self._lock:
            return sum(tokens for second, tokens in self._seconds if present - WINDOW_S <= second < present) / WINDOW_S
