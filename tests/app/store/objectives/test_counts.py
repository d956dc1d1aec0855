"""Counts by objectives are those of the runs, from rows and from sums, on each database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from app.operations.objectives.attainment import goodput_over_time
from app.store import Counted, Metric, RunSource, RunStatus, RunStore, Scope, StoreError
from app.store.objectives import counts
from app.store.runs.rollups import reading
from engine.evaluation.judge import Verdict
from engine.types import Precision, Tier
from tests.support.cascading import make_cascade_report
from tests.support.fakes import make_request
from tests.support.live_judging import TWO, say
from tests.support.past_traffic import HIT, NOW, PastTraffic

HOUR = timedelta(hours=1)
ALL = Scope().runs(NOW - 30 * HOUR, NOW)
SMALL = Scope(model="small")


@pytest.fixture
def traffic(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> PastTraffic:
    return PastTraffic(store, monkeypatch)


def test_each_metric_counts_the_runs_that_break_its_promise(store: RunStore, traffic: PastTraffic) -> None:
    traffic.run(NOW - HOUR, ttft_s=2.0, tpot_s=0.01, rating=1)
    traffic.run(NOW - 2 * HOUR, ttft_s=0.5, tpot_s=0.2, rating=-1)
    traffic.run(NOW - 3 * HOUR, make_request(model="small"), ttft_s=1.0, tpot_s=0.1)
    traffic.run(NOW - 4 * HOUR, status=RunStatus.FAILED)
    traffic.run(NOW - 4 * HOUR, status=RunStatus.STOPPED)
    traffic.run(NOW - 5 * HOUR, ttft_s=9.0, source=RunSource.LAB)
    count = store.objectives.count
    assert count(Metric.TTFT, 1.0, ALL) == Counted(1, 3)
    assert count(Metric.TPOT, 0.1, ALL) == Counted(1, 3)
    assert count(Metric.E2E, 100.0, ALL) == Counted(0, 3)
    assert count(Metric.ERRORS, None, ALL) == Counted(1, 4)
    assert count(Metric.QUALITY, None, ALL) == Counted(1, 2)
    assert count(Metric.TTFT, 1.0, SMALL.runs(ALL.since, ALL.until)) == Counted(0, 1)
    assert count(Metric.TTFT, 1.0, Scope(source=RunSource.LAB).runs(ALL.since, ALL.until)) == Counted(1, 1)
    assert count(Metric.TTFT, 1.0, Scope(model="none").runs(ALL.since, ALL.until)).share is None


def test_a_thumb_counts_more_than_a_judge(store: RunStore, traffic: PastTraffic) -> None:
    judge = Tier(model="judge", precision=Precision.INT4)
    wrong, praised, unsaid = (traffic.run(NOW - HOUR, rating=rating) for rating in (0, 1, 0))
    for run_id in (wrong, praised):
        store.router.keep_run_verdict(run_id, judge, "0" * 64, Verdict(right=False, confidence=0.9))
    store.router.keep_run_verdict(unsaid, judge, "0" * 64, Verdict(right=None, confidence=None))
    assert store.objectives.count(Metric.QUALITY, None, ALL) == Counted(1, 2)
    say(store, unsaid, 0.5)
    assert store.objectives.count(Metric.QUALITY, None, ALL) == Counted(1, 3)
    say(store, unsaid, 0.4, TWO)
    say(store, praised, 0.0)
    assert store.objectives.count(Metric.QUALITY, None, ALL) == Counted(2, 3)


def test_sums_and_rows_count_alike(store: RunStore, traffic: PastTraffic, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(24):
        moment = NOW - number * HOUR - timedelta(minutes=7)
        traffic.run(moment, ttft_s=0.1 * (number + 1), status=RunStatus.FINISHED if number % 5 else RunStatus.FAILED)
    objective = store.objectives.add(Metric.TTFT, 0.9, limit_s=1.05, window_days=2)
    asked = [(Metric.TTFT, 1.05), (Metric.E2E, 1.3), (Metric.ERRORS, None)]
    since = NOW - timedelta(days=2)
    exact = [store.objectives.count(metric, limit_s, ALL) for metric, limit_s in asked]
    exact_over_time = store.objectives.count_over_time(objective, since, NOW, 2 * HOUR)
    assert not store.sum_up(most=1_000)
    monkeypatch.setattr(reading, "EXACT_UP_TO", 1)
    assert [store.objectives.count(metric, limit_s, ALL) for metric, limit_s in asked] == exact
    assert store.objectives.count_over_time(objective, since, NOW, 2 * HOUR) == exact_over_time
    assert sum(each.counted.total for each in exact_over_time) == exact[0].total


def test_what_is_still_to_be_summed_up_counts_too(
    store: RunStore, traffic: PastTraffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(24):
        traffic.run(NOW - number * HOUR - timedelta(minutes=7), ttft_s=0.1 * (number + 1))
        if number == 12:
            assert not store.sum_up(most=1_000)
    objective = store.objectives.add(Metric.TTFT, 0.9, limit_s=1.05, window_days=2)
    since = NOW - timedelta(days=2)
    exact = store.objectives.count(Metric.TTFT, 1.05, ALL)
    exact_over_time = store.objectives.count_over_time(objective, since, NOW, 2 * HOUR)
    assert exact == Counted(14, 24)
    monkeypatch.setattr(reading, "EXACT_UP_TO", 1)
    monkeypatch.setattr(counts, "MOST_UNSUMMED", 4)
    assert store.objectives.count(Metric.TTFT, 1.05, ALL) == exact
    assert store.objectives.count_over_time(objective, since, NOW, 2 * HOUR) == exact_over_time


def test_a_good_request_meets_every_objective_that_it_comes_under(store: RunStore, traffic: PastTraffic) -> None:
    objectives = [
        store.objectives.add(Metric.TTFT, 0.9, limit_s=1.0),
        store.objectives.add(Metric.TPOT, 0.9, limit_s=0.1, scope=SMALL),
        store.objectives.add(Metric.ERRORS, 0.9),
        store.objectives.add(Metric.QUALITY, 0.9),
    ]
    traffic.run(NOW - HOUR)
    traffic.run(NOW - HOUR, tpot_s=0.5)
    traffic.run(NOW - HOUR, make_request(model="small"), tpot_s=0.5)
    traffic.run(NOW - HOUR, ttft_s=2.0)
    traffic.run(NOW - HOUR, rating=-1)
    traffic.run(NOW - HOUR, status=RunStatus.FAILED)
    traffic.run(NOW - HOUR, status=RunStatus.STOPPED)
    assert store.objectives.count_good(objectives, ALL) == Counted(4, 6)
    assert store.objectives.count_good([], ALL) == Counted(1, 6)


def test_goodput_over_time_is_that_of_each_stretch(store: RunStore, traffic: PastTraffic) -> None:
    objectives = [
        store.objectives.add(Metric.TTFT, 0.9, limit_s=1.0),
        store.objectives.add(Metric.TPOT, 0.9, limit_s=0.1),
    ]
    for minutes in range(5, 300, 20):
        traffic.run(NOW - timedelta(minutes=minutes), ttft_s=0.01 * minutes, tpot_s=0.2 if minutes % 3 else 0.05)
    for step in (timedelta(minutes=15), timedelta(minutes=7), 3 * HOUR):
        inner = [NOW - number * step for number in range(3, 0, -1)]
        edges = [inner[0] - step + timedelta(seconds=1), *inner, NOW]
        found = goodput_over_time(store.objectives, objectives, ALL, edges, NOW)
        each = [replace(ALL, since=since, until=until) for since, until in pairwise(edges)]
        assert list(found) == [store.objectives.count_good(objectives, filter) for filter in each]
    (alone,) = goodput_over_time(store.objectives, objectives, ALL, [NOW - HOUR, NOW], NOW)
    assert alone == store.objectives.count_good(objectives, replace(ALL, since=NOW - HOUR))
    assert sum(each.total for each in found) == 15
    assert 0 < sum(each.bad for each in found) < 15


def test_what_alerts_watch_is_summed_over_the_runs(store: RunStore, traffic: PastTraffic) -> None:
    traffic.run(NOW - HOUR, prompt_tokens=100, cached_tokens=80, verification_steps=10, accepted_tokens=20)
    traffic.run(NOW - HOUR, prompt_tokens=300, cached_tokens=0, repetition=0.9)
    traffic.run(NOW - HOUR, cascade=make_cascade_report(went_up=True, large_alone_s=0.5, derived=False), repetition=0.1)
    traffic.run(NOW - HOUR, cascade=make_cascade_report(went_up=False, large_alone_s=0.5, derived=True))
    traffic.run(NOW - HOUR, status=RunStatus.FAILED)
    traffic.run(NOW - HOUR, cached_tokens=8, cache=replace(HIT, verified=False))
    traffic.run(NOW - HOUR, cached_tokens=8, cache=replace(HIT, verified=True))
    traffic.run(NOW - HOUR, cached_tokens=8, cache=HIT)
    found = store.objectives.tally(ALL)
    assert found.errors == Counted(1, 8)
    assert found.cached.ratio == (80 + 3 * 8) / (400 + 5 * 12)
    assert found.accepted.ratio == 3.0
    assert found.went_up == Counted(1, 2)
    assert found.repeating == Counted(1, 2)
    assert store.objectives.stale(ALL) == Counted(1, 2)
    (used,) = store.objectives.precisions(ALL)
    assert (used.precision, used.runs) == ("bf16", 7)
    nothing = store.objectives.tally(Scope(model="none").runs(ALL.since, ALL.until))
    assert nothing.cached.ratio is None
    assert nothing.errors.share is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"target": 1.0}, "leaves no error budget"),
        ({"target": 0.0}, "above 0 %"),
        ({"limit_s": None}, "A limit is a time"),
        ({"limit_s": -1.0}, "A limit is a time"),
        ({"limit_s": float("nan")}, "A limit is a time"),
        ({"window_days": 0}, "A window is"),
        ({"window_days": 91}, "A window is"),
    ],
)
def test_what_cannot_be_judged_is_refused(store: RunStore, changed: dict[str, float | None], says: str) -> None:
    kept = store.objectives.add(Metric.TTFT, 0.95, limit_s=1.0)
    with pytest.raises(StoreError, match=says):
        store.objectives.change(replace(kept, **changed))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="like this already"):
        store.objectives.add(Metric.TTFT, 0.95, limit_s=1.0)
    assert store.objectives.all() == (kept,)
    store.objectives.remove(kept.id)
    assert store.objectives.all() == ()
