"""Figures that took long to read, kept for a while, so that reading them again and again costs next to nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import TypeVar, cast

_KEPT_FROM_S = 0.02
"""What is read faster is read anew each time."""
_TIMES = 300
"""So many times as long as it took to read, a figure is kept: reading it costs 0.3 % of a core at most."""
_MOST = 500

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Kept:
    read_at: datetime
    took: timedelta
    found: object


@dataclass(slots=True)
class Memo:
    """Safe to share between threads. ``clock`` tells how long reading takes, in seconds."""

    clock: Callable[[], float] = monotonic
    _kept: dict[Hashable, _Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: Hashable, at: datetime, read: Callable[[], _T]) -> _T:
        """What is kept under a key, or what ``read`` gives.

        Args:
            key: what it is.
            at: the moment that it is asked for. What was read later than that, by a clock that was set back since,
                is read again.
            read: reads it.
        """
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and kept.read_at <= at < kept.read_at + _TIMES * kept.took:
            return cast("_T", kept.found)
        began = self.clock()
        found = read()
        took = self.clock() - began
        if took >= _KEPT_FROM_S:
            with self._lock:
                if len(self._kept) >= _MOST:
                    self._kept.clear()
                self._kept[key] = _Kept(at, timedelta(seconds=took), found)
        return found
