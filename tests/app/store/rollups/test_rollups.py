"""Figures from sums are those from the rows, whatever happened to the runs, and when they were summed up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.store import Metric, RunFilter, RunOutcome, RunSource, RunStatus, RunStore
from app.store.runs import writing
from app.store.runs.figures import Latency, Percentiles
from app.store.runs.rollups import buckets, covering, making, reading
from app.store.runs.rollups.histogram import RELATIVE_ERROR
from app.store.runs.rollups.packing import pack, unpack
from app.store.runs.rollups.parts import OF_RUN, Identity, Parts, Tally
from app.store.runs.schema import Run
from app.store.runs.statistics import exact
from app.store.runs.statistics import overview as statistics_overview
from engine.types import Precision, RemoteReport
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.fakes import make_metrics, make_request

NOW = datetime(2026, 3, 29, 12, 7, tzinfo=UTC)
OVER = (RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED)
HOURS = [NOW + timedelta(minutes=53, hours=hours) for hours in range(-60, 1)]
"""Whole hours up to the one after now."""
ODD = [HOURS[-3] - timedelta(minutes=3), HOURS[-3], NOW - timedelta(minutes=20)]
EDGES = (
    HOURS[::12],
    [HOURS[-49], HOURS[-25], HOURS[-1]],
    [HOURS[-50] + timedelta(minutes=45), HOURS[-26] + timedelta(minutes=45), HOURS[-1]],
    ODD,
)
FILTERS = (RunFilter(), RunFilter(precisions=("int4",)), RunFilter(sources=(None, RunSource.API)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time at which runs are created, to be set by the test. Sums are never too much trouble."""
    now = [NOW]
    monkeypatch.setattr(writing, "now", lambda: now[0])
    monkeypatch.setattr(buckets, "now", lambda: NOW)
    monkeypatch.setattr(reading, "EXACT_UP_TO", -1)
    return now


def begin(store: RunStore, precision: Precision, source: RunSource | None) -> str:
    request = make_request(precision=precision)
    return store.create_run(request, person_id="p", environment={}, source=source)


def end(
    store: RunStore, run_id: str, status: RunStatus, e2e_s: float, *, disturbed: bool, by_server: bool = False
) -> None:
    metrics = None if status is RunStatus.FAILED else make_metrics(e2e_s=e2e_s, ttft_s=e2e_s / 2)
    environment = {"remote": RemoteReport(server="h:1", served_name="m").to_dict()} if by_server else {}
    disturbance = DISTURBED if disturbed else QUIET
    outcome = RunOutcome(status, "", metrics=metrics, environment=environment, disturbance=disturbance)
    store.finish_run(run_id, outcome)


def close_to(found: Latency, exact: Latency) -> bool:
    def close(one: Percentiles, other: Percentiles) -> bool:
        pairs = ((one.p50, other.p50), (one.p90, other.p90), (one.p99, other.p99))
        return all(
            (a is None) == (b is None) and (a is None or b is None or abs(a - b) <= 1.001 * RELATIVE_ERROR * b)
            for a, b in pairs
        )

    return found.left_out == exact.left_out and all(
        close(getattr(found, name), getattr(exact, name)) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")
    )


ACTIONS = st.one_of(
    st.tuples(st.just("begin"), st.integers(0, 3000), st.sampled_from([Precision.BF16, Precision.INT4]),
              st.sampled_from([None, RunSource.API, RunSource.CHAT])),
    st.tuples(st.just("end"), st.integers(0, 99), st.sampled_from(OVER), st.floats(0.001, 100), st.booleans(),
              st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 99)),
    st.tuples(st.just("sum up"), st.integers(1, 5)),
)  # fmt: skip


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTIONS, max_size=25), st.sampled_from(FILTERS), st.sampled_from(EDGES), st.sampled_from([-1, 5_000]))
def test_sums_say_what_the_rows_say(
    store: RunStore,
    clock: list[datetime],
    actions: list[tuple[Any, ...]],
    filter: RunFilter,
    edges: list[datetime],
    exact_up_to: int,
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
                end(store, run_id, what[1], what[2], disturbed=what[3], by_server=what[4])
    whole = replace(filter, since=edges[0], until=edges[-1])
    parts = [replace(filter, since=since, until=until) for since, until in pairwise(edges)]
    with store._database.read() as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "EXACT_UP_TO", exact_up_to)
        found = store.overview(filter, edges)
        assert found.totals == exact.totals(session, whole)
        assert close_to(found.latency, exact.latency(session, whole, False))
        times = [(part.since, totals) for part in parts if (totals := exact.totals(session, part)).runs]
        assert [(each.start, each.totals) for each in found.over_time] == times
        assert all(
            close_to(each.latency, exact.latency(session, replace(filter, since=each.start, until=each.end), False))
            for each in found.over_time
        )
        configurations = exact.by_configuration(session, whole, 10, False)
        assert [(each.configuration, each.totals) for each in found.by_configuration] == [
            (each.configuration, each.totals) for each in configurations
        ]
        assert found.configurations == len(configurations)
        assert sum(each.totals.runs for each in found.by_precision) == found.totals.runs


def test_sums_from_before_a_count_was_added_have_none_of_it(store: RunStore) -> None:
    end(store, begin(store, Precision.INT4, None), RunStatus.FINISHED, 1.0, disturbed=False)
    with store._database.read() as session:
        rows = session.execute(select(*(getattr(Run, name) for name in (*Identity._fields, *OF_RUN)))).all()
    now = Parts.of_runs(rows, np.array([7])).added_up()
    older = replace(now, counts=now.counts[:, :-1], tallies=(Tally(0, "tier", "a", 1),))
    kept = unpack(pack(older), 7)
    assert kept.counts[:, :-1].tolist() == older.counts.tolist()
    assert kept.counts[:, -1].tolist() == [0]
    assert (kept.times.tolist(), kept.tallies) == (now.times.tolist(), older.tallies)


def test_sums_serve_once_they_are_made(store: RunStore, clock: list[datetime], monkeypatch: pytest.MonkeyPatch) -> None:
    for minutes in range(0, 3_000, 50):
        clock[0] = NOW - timedelta(minutes=minutes)
        end(store, begin(store, Precision.INT4, None), RunStatus.FINISHED, 1.0, disturbed=False)
    while store.sum_up(most=3):
        pass
    read: list[int] = []
    of_runs = covering.Parts.of_runs

    def counted(rows: Any, stretch: Any) -> Any:
        read.append(len(rows))
        return of_runs(rows, stretch)

    monkeypatch.setattr(covering.Parts, "of_runs", counted)
    payloads: list[int] = []
    unpack = covering.unpack
    monkeypatch.setattr(
        covering, "unpack", lambda payload, stretch: payloads.append(stretch) or unpack(payload, stretch)
    )
    assert store.overview(RunFilter(), [HOURS[0], HOURS[-1]]).totals.runs == 60
    assert sum(read) == 1, "only the runs of the present quarter of an hour are read one by one"
    assert len(payloads) < 40, "whole days and hours are read as such"


def test_a_run_that_changes_while_it_is_summed_up_is_summed_up_again(
    store: RunStore, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock[0] = NOW - timedelta(hours=1)
    run_id = begin(store, Precision.INT4, None)
    summed = making._summed

    def changed_meanwhile(*args: Any) -> Any:
        rows = summed(*args)
        monkeypatch.setattr(making, "_summed", summed)
        end(store, run_id, RunStatus.FINISHED, 1.0, disturbed=False)
        return rows

    monkeypatch.setattr(making, "_summed", changed_meanwhile)
    store.sum_up(most=10)
    assert store.overview(RunFilter(), HOURS).totals.finished == 1
    store.sum_up(most=10)
    assert store.overview(RunFilter(), HOURS).totals.finished == 1


def test_what_sums_cannot_tell_is_read_from_the_rows(store: RunStore, clock: list[datetime]) -> None:
    clock[0] = NOW - timedelta(hours=1)
    run_id = begin(store, Precision.INT4, None)
    end(store, run_id, RunStatus.FINISHED, 1.2345, disturbed=False)
    store.set_tags(run_id, ["kept"])
    store.sum_up(most=10)
    assert store.overview(RunFilter(tags=("kept",)), HOURS).latency.e2e_s.p50 == pytest.approx(
        1.2345, rel=RELATIVE_ERROR
    )
    assert store.overview(RunFilter(ratings=(1,)), HOURS).totals.runs == 0


def test_runs_that_are_still_to_be_summed_up_are_told_of_and_not_waited_for(
    store: RunStore, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    for minutes in (0, *range(20, 320, 20)):
        clock[0] = NOW - timedelta(minutes=minutes)
        end(store, begin(store, Precision.INT4, None), RunStatus.FINISHED, 1.0, disturbed=False)
    monkeypatch.setattr(statistics_overview, "MOST_UNSUMMED", 8)
    edges = [HOURS[0], HOURS[-1]]
    missing, whole = store.overview(RunFilter(), edges).missing, 16
    assert missing is not None
    assert missing.share == pytest.approx(11 / 16)
    assert missing.until <= NOW - timedelta(minutes=80)
    assert store.overview(RunFilter(), edges).totals.runs == 5, "the one under way, and the four before it"
    assert store.overview(RunFilter(), [missing.until, HOURS[-1]]).missing is None
    with store._database.read() as session:
        counted = store.objectives.count(Metric.ERRORS, None, RunFilter(since=edges[0], until=edges[1]))
        assert counted.total == exact.totals(session, RunFilter()).runs == whole, "what is promised is never incomplete"
    found = [missing.share]
    while store.sum_up(most=3) or len(found) == 1:
        left = store.overview(RunFilter(), edges).missing
        found.append(left.share if left else 0.0)
    assert found == sorted(found, reverse=True)
    assert store.overview(RunFilter(), edges).totals.runs == whole
    assert store.overview(RunFilter(), edges).missing is None


def test_few_runs_are_read_though_nothing_is_summed_up_yet(
    store: RunStore, clock: list[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "EXACT_UP_TO", 3)
    monkeypatch.setattr(statistics_overview, "MOST_UNSUMMED", 2)
    for minutes in range(20, 200, 20):
        clock[0] = NOW - timedelta(minutes=minutes)
        rare = Precision.BF16 if minutes > 150 else Precision.INT4
        end(store, begin(store, rare, None), RunStatus.FINISHED, 1.0, disturbed=False)
    found = store.overview(RunFilter(precisions=("bf16",)), [HOURS[0], HOURS[-1]])
    assert (found.totals.runs, found.missing) == (2, None)


def test_each_stretch_knows_its_precisions(store: RunStore, clock: list[datetime]) -> None:
    for minutes, precision in ((20, Precision.INT4), (21, Precision.BF16), (22, Precision.INT4), (200, Precision.BF16)):
        clock[0] = NOW - timedelta(minutes=minutes)
        end(store, begin(store, precision, None), RunStatus.FINISHED, 1.0, disturbed=False)
    assert not store.sum_up(most=10)
    found = store.overview(RunFilter(), HOURS).over_time
    assert [each.precisions for each in found] == [{"bf16": 1}, {"int4": 2, "bf16": 1}]
