"""Attainment, error budgets, burn rates and goodput, against counts made by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.objectives.attainment import Attainment, attainment, budget_over_time, burn_rate, goodput
from app.operations.objectives.words import objective_name, stretch
from app.store import Counted, Metric, Objective, RunSource, RunStatus, RunStore, Scope
from tests.support.past_traffic import NOW, PastTraffic

HOUR = timedelta(hours=1)


def objective(metric: Metric = Metric.TTFT, target: float = 0.95, scope: Scope | None = None) -> Objective:
    limit_s = 1.0 if metric.is_latency else None
    return Objective(
        id="o", metric=metric, limit_s=limit_s, target=target, window_days=28, scope=scope or Scope(), created_at=NOW
    )


@given(st.integers(0, 1_000), st.integers(0, 1_000), st.floats(0.5, 0.9999))
def test_the_budget_is_used_up_where_just_so_many_miss_it_as_may(bad: int, good: int, target: float) -> None:
    found = Attainment(objective(target=target), Counted(bad, bad + good))
    if not bad + good:
        assert (found.share, found.budget_left, found.verdict) == (None, None, "no runs")
        return
    assert found.share is not None
    assert found.budget_left is not None
    assert (found.share >= target - 1e-9) == (found.verdict == "kept")
    rate = burn_rate(found.objective, found.counted)
    assert rate is not None
    assert abs(found.budget_left + rate - 1) < 1e-9


def test_rates_are_those_of_their_own_windows(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = store.objectives.add(Metric.TTFT, 0.9, limit_s=1.0)
    traffic = PastTraffic(store, monkeypatch)
    traffic.runs(10, since=HOUR, ttft_s=2.0)
    traffic.runs(10, since=6 * HOUR, until=HOUR)
    traffic.runs(20, since=72 * HOUR, until=6 * HOUR)
    traffic.runs(10, since=40 * 24 * HOUR, until=29 * 24 * HOUR, ttft_s=2.0)
    found = attainment(store.objectives, kept, NOW)
    assert found.burn == pytest.approx((10.0, 5.0, 2.5))
    assert found.counted == Counted(10, 40)
    assert found.verdict == "broken"
    points = budget_over_time(store.objectives, kept, NOW)
    assert next(left for _, left in points if left is not None) == 1.0
    assert points[-1][1] == pytest.approx(found.budget_left)
    assert points[-1][0] == NOW
    good = goodput(store.objectives, [kept], HOUR, NOW)
    assert (good.good, good.requests, good.per_second, good.share) == (0, 10, 0.0, 0.0)
    traffic.run(NOW - HOUR / 2, status=RunStatus.FINISHED)
    good = goodput(store.objectives, [kept], HOUR, NOW)
    assert good.per_second == 1 / 3600


def test_objectives_are_named_by_what_they_promise() -> None:
    scope = Scope(model="m", source=RunSource.API, config_hash="0123456789")
    assert objective_name(objective(scope=scope)) == "TTFT p95 ≤ 1.00 s · m · api · configuration 012345"
    assert objective_name(objective(Metric.ERRORS, 0.999)) == "Errors ≤ 0.1 %"
    assert objective_name(objective(Metric.QUALITY, 0.9)) == "Right answers ≥ 90 %"
    assert [stretch(timedelta(minutes=each)) for each in (5, 60, 90, 1440, 4320)] == [
        "5 min",
        "1 h",
        "90 min",
        "1 d",
        "3 d",
    ]
