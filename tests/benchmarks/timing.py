"""How long an operation takes that can be done again and again, and how much figures differ from time to time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def times_s(
    operation: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """So many times, in seconds of a clock, after one that does not count."""
    operation()
    times = []
    for _ in range(repeats):
        start = clock()
        operation()
        times.append(clock() - start)
    return times


def timed(operation: Callable[[], object], repeats: int) -> dict[str, float | None]:
    """The columns ``median_s`` and ``spread`` of so many times."""
    times = times_s(operation, repeats)
    return {"median_s": statistics.median(times), "spread": spread(times)}


def spread(values: Sequence[float]) -> float | None:
    """Distance of the quartiles over the median; undefined for a single value."""
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle if middle else None
