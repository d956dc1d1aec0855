"""How long an operation takes that can be done again and again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def median_s(operation: Callable[[], object], repeats: int) -> float:
    """The median of so many times, in seconds, after one that does not count."""
    operation()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        operation()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
