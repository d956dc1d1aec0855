"""Figures from sums are those from the rows, whatever happened to the runs, and when they were summed up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store import RunFilter, RunOutcome, RunSource, RunStatus, RunStore
from app.store.runs import writing
from app.store.runs.figures import Latency, Percentiles
from app.store.runs.rollups import buckets, making, reading
from app.store.runs.rollups.histogram import RELATIVE_ERROR
from app.store.runs.statistics import exact
from engine.types import Precision
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.fakes import make_metrics, make_request

NOW = datetime(2026, 3, 29, 12, 7, tzinfo=UTC)
OVER = (RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED)
FILTERS = (
    RunFilter(),
    RunFilter(since=NOW - timedelta(hours=2, minutes=3)),
    RunFilter(since=NOW - timedelta(hours=1), until=NOW - timedelta(minutes=20)),
    RunFilter(precisions=("int4",)),
    RunFilter(sources=(None, RunSource.API)),
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time at which runs are created, to be set by the test. Sums are never too much trouble."""
    now = [NOW]
    monkeypatch.setattr(writing, "now", lambda: now[0])
    monkeypatch.setattr(buckets, "now", lambda: NOW)
    monkeypatch.setattr(reading, "now", lambda: NOW)
    monkeypatch.setattr(reading, "EXACT_UP_TO", -1)
    return now


def begin(store: RunStore, precision: Precision, source: RunSource | None) -> str:
    request = make_request(precision=precision)
    return store.create_run(request, person_id="p", environment={}, source=source)


def end(store: RunStore, run_id: str, status: RunStatus, e2e_s: float, *, disturbed: bool) -> None:
    metrics = None if status is RunStatus.FAILED else make_metrics(e2e_s=e2e_s, ttft_s=e2e_s / 2)
    outcome = RunOutcome(status, "", metrics=metrics, disturbance=DISTURBED if disturbed else QUIET)
    store.finish_run(run_id, outcome)


def close_to(found: Latency, exact: Latency) -> bool:
    def close(one: Percentiles, other: Percentiles) -> bool:
        pairs = ((one.p50, other.p50), (one.p90, other.p90), (one.p99, other.p99))
        return all(
            (a is None) == (b is None) and (a is None or b is None or abs(a - b) <= 1.001 * RELATIVE_ERROR * b)
            for a, b in pairs
        )

    return found.left_out == exact.left_out and all(
        close(getattr(found, name), getattr(exact, name)) for name in ("ttft_s", "tpot_s", "e2e_s")
    )


ACTIONS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 300), st.sampled_from([Precision.BF16, Precision.INT4]),
              st.sampled_from([None, RunSource.API, RunSource.CHAT])),
    st.tuples(st.just("end"), st.integers(0, 99), st.sampled_from(OVER), st.floats(0.001, 100), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 99)),
    st.tuples(st.just("sum up"), st.integers(1, 5)),
)  # fmt: skip


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTIONS, max_size=25), st.sampled_from(FILTERS))
def test_sums_say_what_the_rows_say(
    store: RunStore, clock: list[datetime], actions: list[tuple[Any, ...]], filter: RunFilter
) -> None:
    store.delete([row.id for row in store.page(limit=1_000).rows])
    runs: list[str] = []
    for name, *what in actions:
        if name == "begin":
            clock[0] = NOW - timedelta(minutes=what[0])
            runs.append(begin(store, what[1], what[2]))
        elif name == "sum up":
            store.sum_up(most=what[0])
        elif runs:
            run_id = runs[what[0] % len(runs)]
            if name == "delete":
                store.delete([run_id])
                runs.remove(run_id)
            else:
                end(store, run_id, what[1], what[2], disturbed=what[3])
    with store._database.read() as session:
        exact_totals = exact.totals(session, filter)
        latency = exact.latency(session, filter, False)
        times = exact.over_time(session, filter, timedelta(hours=1), False)
        configurations = exact.by_configuration(session, filter, 10, False)
    found = store.overview(filter, timedelta(hours=1))
    assert found.totals == exact_totals
    assert close_to(found.latency, latency)
    assert [(each.start, each.totals) for each in found.over_time] == [(each.start, each.totals) for each in times]
    assert all(close_to(one.latency, other.latency) for one, other in zip(found.over_time, times, strict=True))
    assert [(each.configuration, each.totals) for each in found.by_configuration] == [
        (each.configuration, each.totals) for each in configurations
    ]
    assert found.configurations == len(configurations)


def test_sums_serve_once_they_are_made(store: RunStore, clock: list[datetime], monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes in range(0, 240, 5):
        clock[0] = NOW - timedelta(minutes=minutes)
        end(store, begin(store, Precision.INT4, None), RunStatus.FINISHED, 1.0, disturbed=False)
    while store.sum_up(most=3):
        pass
    read: list[int] = []
    of_runs = reading.Sums.of_runs

    def counted(rows: Any, groups: Any, number: int) -> Any:
        read.append(len(rows))
        return of_runs(rows, groups, number)

    monkeypatch.setattr(reading.Sums, "of_runs", counted)
    assert store.overview(RunFilter(), timedelta(hours=1)).totals.runs == 48
    assert set(read) == {2}, "only the runs of the present quarter of an hour are read one by one"


def test_a_run_that_changes_while_it_is_summed_up_is_summed_up_again(
    store: RunStore, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock[0] = NOW - timedelta(hours=1)
    run_id = begin(store, Precision.INT4, None)
    rows_of = making._rows_of

    def changed_meanwhile(*args: Any) -> Any:
        rows = rows_of(*args)
        monkeypatch.setattr(making, "_rows_of", rows_of)
        end(store, run_id, RunStatus.FINISHED, 1.0, disturbed=False)
        return rows

    monkeypatch.setattr(making, "_rows_of", changed_meanwhile)
    store.sum_up(most=10)
    assert store.overview(RunFilter(), timedelta(hours=1)).totals.finished == 1
    store.sum_up(most=10)
    assert store.overview(RunFilter(), timedelta(hours=1)).totals.finished == 1


def test_what_sums_cannot_tell_is_read_from_the_rows(store: RunStore, clock: list[datetime]) -> None:
    clock[0] = NOW - timedelta(hours=1)
    run_id = begin(store, Precision.INT4, None)
    end(store, run_id, RunStatus.FINISHED, 1.2345, disturbed=False)
    store.set_tags(run_id, ["kept"])
    store.sum_up(most=10)
    hour = timedelta(hours=1)
    assert store.overview(RunFilter(tags=("kept",)), hour).latency.e2e_s.p50 == 1.2345
    assert store.overview(RunFilter(ratings=(1,)), hour).totals.runs == 0
