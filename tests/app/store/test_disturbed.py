"""Runs that others disturbed: kept with why, filtered by it, left out of percentiles, counted all the same."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from app.store import ALL_RUNS, Percentiles, RunFilter, RunOutcome, RunStatus, RunStore
from engine.types import Disturbance, Precision
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.fakes import make_metrics, make_request

MARKED = RunFilter(disturbed=True)


def add(
    store: RunStore,
    disturbance: Disturbance | None,
    *,
    tpot_s: float = 0.01,
    status: RunStatus = RunStatus.FINISHED,
    precision: Precision = Precision.BF16,
) -> str:
    run_id = store.create_run(make_request(precision=precision), person_id="s", environment={})
    metrics = make_metrics(tpot_s=tpot_s, ttft_s=tpot_s, e2e_s=tpot_s)
    store.finish_run(run_id, RunOutcome(status, "", metrics=metrics, disturbance=disturbance))
    return run_id


def test_what_disturbed_a_run_comes_back_in_lists_and_alone(store: RunStore) -> None:
    ids = {add(store, each): each for each in (QUIET, DISTURBED, None)}
    assert {run.id: run.disturbance for run in store.page().rows} == ids
    assert {run.id: run.disturbance for run in store.get_many(list(ids))} == ids


def test_runs_are_filtered_by_the_mark_and_those_of_which_nobody_knows_have_none(store: RunStore) -> None:
    quiet, disturbed, unknown = (add(store, each) for each in (QUIET, DISTURBED, None))
    assert [run.id for run in store.page(MARKED).rows] == [disturbed]
    assert {run.id for run in store.page(RunFilter(disturbed=False)).rows} == {quiet, unknown}
    assert store.page(ALL_RUNS).total == 3


def test_percentiles_leave_disturbed_runs_out_and_counts_do_not(store: RunStore) -> None:
    for tpot_s in (0.01, 0.02, 0.03):
        add(store, QUIET, tpot_s=tpot_s)
    add(store, None, tpot_s=0.04)
    for _ in range(4):
        add(store, DISTURBED, tpot_s=9.0)
    add(store, DISTURBED, status=RunStatus.STOPPED)
    latency = store.latency()
    assert (latency.tpot_s, latency.left_out) == (Percentiles(0.02, 0.04, 0.04), 4)
    everything = store.latency(with_disturbed=True)
    assert (everything.tpot_s.p99, everything.left_out) == (9.0, 0)
    totals = store.totals()
    assert (totals.runs, totals.disturbed, totals.completion_tokens) == (9, 4, 54)
    (bucket,) = store.over_time(ALL_RUNS, timedelta(days=40_000))
    assert (bucket.latency, bucket.totals.runs) == (latency, 9)
    (configuration,) = store.by_configuration()
    assert (configuration.latency, configuration.totals.runs) == (latency, 9)
    assert configuration.tokens_per_second == pytest.approx(50)
    assert store.by_configuration(with_disturbed=True)[0].latency == everything


def test_where_all_were_disturbed_there_is_no_percentile_and_the_count_says_why(store: RunStore) -> None:
    add(store, DISTURBED)
    latency = store.latency()
    assert (latency.tpot_s, latency.ttft_s, latency.e2e_s, latency.left_out) == (*[Percentiles()] * 3, 1)


def test_who_asks_for_disturbed_runs_alone_is_told_their_percentiles(store: RunStore) -> None:
    add(store, QUIET, tpot_s=0.01)
    add(store, DISTURBED, tpot_s=9.0)
    assert (store.latency(MARKED).tpot_s.p50, store.latency(MARKED).left_out) == (9.0, 0)


def test_a_recent_speed_is_of_undisturbed_runs_and_the_memory_of_any(store: RunStore) -> None:
    add(store, QUIET, tpot_s=0.02)
    add(store, DISTURBED, tpot_s=9.0)
    add(store, DISTURBED, tpot_s=9.0, precision=Precision.INT4)
    speeds = store.recent_speeds(make_request().config.model)
    assert (speeds["bf16"].runs, speeds["bf16"].tpot_s) == (1, 0.02)
    assert (speeds["int4"].runs, speeds["int4"].tpot_s) == (0, None)
    assert speeds["int4"].weights_bytes == make_metrics().weights_bytes


def test_exports_say_whether_and_why(store: RunStore) -> None:
    for each in (QUIET, DISTURBED, None):
        add(store, each)
    out = io.StringIO()
    store.export_csv(ALL_RUNS, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [(row["disturbed"], row["why_disturbed"]) for row in rows] == [("False", ""), ("True", WHY), ("", "")]
    out = io.StringIO()
    store.export_jsonl(MARKED, out)
    told = json.loads(out.getvalue())
    assert (told["disturbed"], told["why_disturbed"]) == (True, WHY)
    assert Disturbance.from_dict(told["disturbance"]) == DISTURBED


def test_a_run_that_waits_to_be_written_keeps_its_mark(store: RunStore, file: Path) -> None:
    run_id = store.create_run(make_request(), person_id="s", environment={})
    outcome = RunOutcome(RunStatus.FINISHED, "", metrics=make_metrics(), disturbance=DISTURBED)
    with closing(sqlite3.connect(file)) as other, other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write
        store.finish_later(run_id, outcome, None, "the disk is full")
        assert store.get(run_id).disturbance == DISTURBED
        assert store.page().rows[0].disturbance == DISTURBED
    store.close()
    again = RunStore.open(f"sqlite:///{file}")
    assert [run.id for run in again.page(MARKED).rows] == [run_id]
    assert again.get(run_id).disturbance == DISTURBED
    again.close()
