"""How fast this machine reads memory: what bounds decoding, which reads every weight for every token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from time import perf_counter

import numpy as np

from engine.machine.memory import RESERVE_BYTES, available_bytes

BUFFER_BYTES = 1 << 29
"""Many times any L3 cache, so that a pass finds nothing of the one before."""
PASSES = 3


class MemoryReader:
    """Adds up a large buffer, an equal share of it on every thread."""

    def __init__(self, threads: int) -> None:
        self._shares = np.array_split(np.ones(BUFFER_BYTES // 8, np.int64), threads)
        self._pool = ThreadPoolExecutor(threads)

    def measure(self) -> float:
        """Bytes/s of the quickest of a few passes: what memory can do now, interruptions apart."""
        return BUFFER_BYTES / min(self._pass_s() for _ in range(PASSES))

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _pass_s(self) -> float:
        begun = perf_counter()
        list(self._pool.map(np.add.reduce, self._shares))
        return perf_counter() - begun


def measure_bandwidth(threads: int) -> float | None:
    """Bytes/s that this many threads read from memory now, in about a second; ``None`` where there is no room for
    what they read."""
    if available_bytes() < BUFFER_BYTES + RESERVE_BYTES:
        return None
    with closing(MemoryReader(threads)) as reader:
        return reader.measure()
