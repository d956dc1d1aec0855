"""Runs of the past: what was asked in the hours before a moment, as the store keeps it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from app.operations.alerts import reading
from app.store import RunOutcome, RunSource, RunStatus, RunStore
from app.store.runs import writing
from engine.types import CacheReport, CascadeReport, GenerationRequest
from tests.support.fakes import make_metrics, make_request

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
HIT = CacheReport(
    cause=None,
    nearest_tokens=8,
    parted_at=None,
    kept_text="",
    came_text="",
    detail="All of it was kept.",
    lost_tokens=0,
)
"""How a run met the prefix cache."""


@dataclass
class PastTraffic:
    """Writes runs into a store as if they had been asked at other times."""

    store: RunStore
    patch: pytest.MonkeyPatch

    def run(
        self,
        at: datetime,
        request: GenerationRequest | None = None,
        *,
        status: RunStatus = RunStatus.FINISHED,
        ttft_s: float = 0.1,
        tpot_s: float = 0.01,
        source: RunSource | None = RunSource.API,
        rating: int = 0,
        cache: CacheReport | None = None,
        cascade: CascadeReport | None = None,
        **figures: Any,
    ) -> str:
        """One run, and its id."""
        with self.patch.context() as patched:
            patched.setattr(writing, "now", lambda: at)
            run_id = self.store.create_run(request or make_request(), person_id="s", environment={}, source=source)
        metrics = None
        if status is RunStatus.FINISHED:
            metrics = replace(make_metrics(ttft_s=ttft_s, tpot_s=tpot_s, completion_tokens=40), **figures)
        error = None if status is RunStatus.FINISHED else "No."
        outcome = RunOutcome(status, "Blue.", "stop", error, None, metrics, cache=cache, cascade=cascade)
        self.store.finish_run(run_id, outcome)
        if rating:
            self.store.rate(run_id, rating)
        return run_id

    def runs(self, count: int, *, since: timedelta, until: timedelta = timedelta(0), **of_each: Any) -> None:
        """Some runs, evenly from so long before `NOW` to so long before it."""
        for number in range(count):
            self.run(NOW - since + (since - until) * (number + 0.5) / count, **of_each)


def disk_with_room(patch: pytest.MonkeyPatch, percent: int) -> None:
    """Let the disk that alerts look at have so much of 100 GiB free."""
    usage = SimpleNamespace(total=100 << 30, used=(100 - percent) << 30, free=percent << 30)
    patch.setattr(reading.shutil, "disk_usage", lambda folder: usage)
