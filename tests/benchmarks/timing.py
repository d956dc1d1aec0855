"""How long an operation takes that can be done again and again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_s(operation: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median of so many times, in seconds of a clock, after one that does not count."""
    operation()
    times = []
    for _ in range(repeats):
        start = clock()
        operation()
        times.append(clock() - start)
    return statistics.median(times)
