"""Token buckets: so many things at once, and then so many a second."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_NETWORKS = 10_000
Clock = Callable[[], float]
"""Seconds that only ever grow."""


class TokenBucket:
    """A bucket that is full at first and fills up evenly. Safe to share between threads."""

    def __init__(self, most: float, per_s: float, clock: Clock = time.monotonic) -> None:
        self._most, self._per_s, self._clock = most, per_s, clock
        self._level, self._at = most, clock()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take one token: 0.0, or the seconds until there will be one; nothing is taken then."""
        with self._lock:
            level = self._filled()
            if level < 1:
                return (1 - level) / self._per_s
            self._level = level - 1
            return 0.0

    def wait_s(self) -> float:
        """Seconds until the bucket holds anything at all; 0.0 if it does."""
        with self._lock:
            level = self._filled()
            return 0.0 if level > 0 else max(-level, 1e-3) / self._per_s

    def spend(self, tokens: float) -> None:
        """Take what was used, even if there is less: whoever comes next waits for it. Less than 0 gives back."""
        with self._lock:
            self._level = min(self._filled() - tokens, self._most)

    @property
    def is_full(self) -> bool:
        """Whether nothing was taken that has not come back."""
        with self._lock:
            return self._filled() >= self._most

    def _filled(self) -> float:
        now = self._clock()
        self._level, self._at = min(self._most, self._level + (now - self._at) * self._per_s), now
        return self._level


class Tries:
    """How often a network may still be wrong. Bounded: the network that has tried nothing for longest is forgotten.

    A try is taken before it is judged, so that many at once are no more than one after the other.
    """

    def __init__(self, most: int, per_s: float, clock: Clock = time.monotonic) -> None:
        self._most, self._per_s, self._clock = most, per_s, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, network: str) -> float:
        """Begin a try: 0.0, or the seconds to wait before there is another one."""
        bucket = self._buckets.setdefault(network, TokenBucket(self._most, self._per_s, self._clock))
        self._buckets.move_to_end(network)
        if len(self._buckets) > MOST_NETWORKS:
            self._buckets.popitem(last=False)
        return bucket.take()

    def was_right(self, network: str) -> None:
        """Give the try back: it was no guess."""
        if bucket := self._buckets.get(network):
            bucket.spend(-1)


def whole_seconds(wait_s: float) -> int:
    """A wait as ``Retry-After`` tells it: at least one second."""
    return max(1, math.ceil(wait_s))
