"""Simulations of the prefix cache, run in the background; the latest results are kept."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

from app.background.computed import Computed
from app.background.jobs import Jobs, Report

if TYPE_CHECKING:
    from engine.cache.simulation import SimulatedBudget

KEPT = 16
STEPS = 8
"""Budgets tried: the largest, and each time half of it."""


class Simulations:
    """Results by their key. Safe to use from any thread."""

    def __init__(self, jobs: Jobs) -> None:
        self._computed: Computed[tuple[SimulatedBudget, ...]] = Computed(jobs, most=KEPT)

    def start(self, log: str, largest_bytes: int, bytes_per_token: int, at_once: int) -> str:
        """Simulate a log in the background, unless that very thing is known; its key."""
        contents = hashlib.sha256(log.encode()).hexdigest()
        key = f"cache simulation {contents} {largest_bytes} {bytes_per_token} {at_once}"
        if self.result(key) is None:
            self._computed.start(key, partial(_simulate, log, largest_bytes, bytes_per_token, at_once))
        return key

    def result(self, key: str) -> tuple[SimulatedBudget, ...] | None:
        """What came out; ``None`` while it runs or if it failed."""
        return self._computed.value(key)


def _simulate(
    log: str, largest_bytes: int, bytes_per_token: int, at_once: int, report: Report
) -> tuple[SimulatedBudget, ...]:
    from engine.cache.simulation import read_log, simulate  # beside torch, which no page is to wait for

    report("Reading the log", 0.0)
    requests = read_log(log, at_once)
    budgets = sorted(largest_bytes // 2**step for step in range(STEPS))
    return simulate(requests, budgets, bytes_per_token, lambda done: report("Simulating", 0.02 + 0.98 * done))
