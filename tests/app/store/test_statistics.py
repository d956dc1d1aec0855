import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store import ALL_RUNS, Latency, Percentiles, RunFilter, RunOutcome, RunStatus, RunStore
from app.store.runs import writing
from engine.types import Precision
from tests.support.fakes import make_metrics, make_request

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time at which runs are created, to be set by the test."""
    now = [NOON]
    monkeypatch.setattr(writing, "now", lambda: now[0])
    return now


def add(
    store: RunStore,
    status: RunStatus = RunStatus.FINISHED,
    *,
    e2e_s: float | None = 1.0,
    ttft_s: float | None = 0.1,
    tpot_s: float | None = 0.01,
    precision: Precision = Precision.BF16,
    tokens: int = 6,
    peak_rss_bytes: int = 5,
) -> str:
    run_id = store.create_run(make_request(precision=precision), person_id="s", environment={})
    if status is not RunStatus.RUNNING:
        metrics = (
            None
            if e2e_s is None
            else make_metrics(
                e2e_s=e2e_s, ttft_s=ttft_s, tpot_s=tpot_s, completion_tokens=tokens, peak_rss_bytes=peak_rss_bytes
            )
        )
        store.finish_run(run_id, RunOutcome(status, "", metrics=metrics))
    return run_id


def nearest_rank(values: list[float]) -> Percentiles:
    """The textbook definition, to compare with."""
    ordered = sorted(values)
    return Percentiles(*(ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in (50, 90, 99)))


def test_no_runs_have_no_figures(store: RunStore) -> None:
    totals = store.totals()
    assert (totals.runs, totals.completion_tokens, totals.peak_rss_bytes) == (0, 0, None)
    assert (totals.error_rate, totals.stop_rate) == (None, None)
    assert store.latency() == Latency()
    assert store.over_time(ALL_RUNS, timedelta(hours=1)) == ()
    assert store.by_configuration() == ()


def test_totals_count_every_status_and_rates_leave_running_runs_out(store: RunStore) -> None:
    for status, count in {
        RunStatus.FINISHED: 5,
        RunStatus.STOPPED: 2,
        RunStatus.FAILED: 1,
        RunStatus.INTERRUPTED: 2,
        RunStatus.RUNNING: 3,
    }.items():
        for _ in range(count):
            add(store, status, tokens=10)
    totals = store.totals()
    assert (totals.runs, totals.finished, totals.stopped) == (13, 5, 2)
    assert (totals.failed, totals.interrupted, totals.running) == (1, 2, 3)
    assert totals.completion_tokens == 100
    assert totals.error_rate == pytest.approx(3 / 10)
    assert totals.stop_rate == pytest.approx(2 / 10)


def test_peaks_are_the_greatest(store: RunStore) -> None:
    for peak in (3, 9, 7):
        add(store, peak_rss_bytes=peak)
    assert store.totals().peak_rss_bytes == 9


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.25, 100.0]), min_size=1, max_size=12))
def test_percentiles_are_the_nearest_rank(store: RunStore, values: list[float]) -> None:
    store.delete([row.id for row in store.page(limit=1_000).rows])
    for value in values:
        add(store, e2e_s=value)
    assert store.latency().e2e_s == nearest_rank(values)


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 99, 100, 101])
def test_percentiles_pick_the_right_rank_at_the_edges(store: RunStore, count: int) -> None:
    for value in range(count):
        add(store, e2e_s=float(value))
    assert store.latency().e2e_s == nearest_rank([float(value) for value in range(count)])


def test_percentiles_are_of_finished_runs_and_skip_what_was_not_measured(store: RunStore) -> None:
    add(store, ttft_s=0.5, tpot_s=None, e2e_s=1.0)
    add(store, ttft_s=0.7, tpot_s=0.02, e2e_s=2.0)
    add(store, RunStatus.STOPPED, ttft_s=9.0, tpot_s=9.0, e2e_s=9.0)
    add(store, RunStatus.FAILED, e2e_s=None)
    latency = store.latency()
    assert latency.ttft_s == Percentiles(0.5, 0.7, 0.7)
    assert latency.tpot_s == Percentiles(0.02, 0.02, 0.02)
    assert latency.e2e_s == Percentiles(1.0, 2.0, 2.0)


def test_a_stretch_of_time_holds_the_runs_that_began_in_it(store: RunStore, clock: list[datetime]) -> None:
    for minutes, e2e_s in ((-1, 1.0), (0, 2.0), (59, 4.0), (180, 8.0)):
        clock[0] = NOON + timedelta(minutes=minutes)
        add(store, e2e_s=e2e_s)
    add(store, RunStatus.FAILED, e2e_s=None)
    buckets = store.over_time(ALL_RUNS, timedelta(hours=1))
    assert [(bucket.start, bucket.totals.runs, bucket.totals.failed) for bucket in buckets] == [
        (NOON - timedelta(hours=1), 1, 0),
        (NOON, 2, 0),
        (NOON + timedelta(hours=3), 2, 1),
    ]
    assert [bucket.latency.e2e_s.p50 for bucket in buckets] == [1.0, 2.0, 8.0]
    assert buckets[1].latency.e2e_s.p99 == 4.0
    assert buckets[1].totals.completion_tokens == 12


def test_a_stretch_without_finished_runs_has_counts_but_no_percentiles(store: RunStore, clock: list[datetime]) -> None:
    add(store, RunStatus.FAILED, e2e_s=None)
    (bucket,) = store.over_time(ALL_RUNS, timedelta(minutes=5))
    assert (bucket.start, bucket.totals.failed, bucket.latency) == (NOON, 1, Latency())


def test_each_configuration_has_its_own_figures_the_most_used_first(store: RunStore) -> None:
    for tpot_s in (0.02, 0.01, 0.04):
        add(store, precision=Precision.INT4, tpot_s=tpot_s)
    add(store, tpot_s=0.1)
    add(store, RunStatus.STOPPED, tpot_s=0.5)
    add(store, RunStatus.FAILED, precision=Precision.NF4, e2e_s=None)
    int4, bf16, nf4 = store.by_configuration()
    assert [stats.configuration.precision for stats in (int4, bf16, nf4)] == ["int4", "bf16", "nf4"]
    assert [stats.totals.runs for stats in (int4, bf16, nf4)] == [3, 2, 1]
    assert int4.tokens_per_second == pytest.approx(50)
    assert bf16.tokens_per_second == pytest.approx(10)
    assert (nf4.tokens_per_second, nf4.weights_bytes, nf4.latency) == (None, None, Latency())
    assert int4.weights_bytes == make_metrics().weights_bytes
    assert int4.configuration.config_hash == make_request(precision=Precision.INT4).config.hash


def test_only_the_most_used_configurations_are_reckoned_where_there_are_many(store: RunStore) -> None:
    for precision, count in ((Precision.BF16, 1), (Precision.INT4, 3), (Precision.NF4, 2)):
        for _ in range(count):
            add(store, precision=precision)
    stats = store.by_configuration(limit=2)
    assert [(one.configuration.precision, one.totals.runs) for one in stats] == [("int4", 3), ("nf4", 2)]


def test_statistics_follow_the_filter(store: RunStore, clock: list[datetime]) -> None:
    add(store, precision=Precision.INT4, e2e_s=1.0)
    clock[0] = NOON + timedelta(hours=5)
    add(store, e2e_s=3.0)
    late, int4 = RunFilter(since=clock[0]), RunFilter(precisions=("int4",))
    assert store.totals(late).runs == store.totals(int4).runs == 1
    assert (store.latency(late).e2e_s.p50, store.latency(int4).e2e_s.p50) == (3.0, 1.0)
    assert [bucket.start for bucket in store.over_time(int4, timedelta(hours=1))] == [NOON]
    assert [stats.configuration.precision for stats in store.by_configuration(late)] == ["bf16"]
