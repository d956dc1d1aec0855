"""Runs on servers: what they do not tell is kept as nothing, and no 0 in a sum or a peak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from app.store import RunOutcome, RunStatus, RunStore
from app.store.runs.schema import Run
from engine.types import Backend, GenerationRequest, Message, RemoteReport, RunConfig
from tests.support.fakes import make_metrics
from tests.support.ui import add_run

ASKED = GenerationRequest(
    messages=(Message("user", "Hello"),), config=RunConfig(model="@office", backend=Backend.REMOTE)
)
METRICS = replace(make_metrics(completion_tokens=3), cached_tokens=0, weights_bytes=0, kv_bytes=0, peak_rss_bytes=0)


def add(store: RunStore, cached: int | None, **more: Any) -> str:
    remote = RemoteReport(server="h:1", served_name="m", cached_tokens=cached, **more)
    run_id = store.create_run(ASKED, person_id="me", environment={"device": "cpu"})
    metrics = replace(METRICS, cached_tokens=cached or 0)
    outcome = RunOutcome(RunStatus.FINISHED, "Hi.", metrics=metrics, environment={"remote": remote.to_dict()})
    store.finish_run(run_id, outcome, None)
    return run_id


def test_it_comes_back_as_it_ended(store: RunStore) -> None:
    run = store.get(add(store, None))
    assert (run.metrics, run.backend, run.precision) == (METRICS, "remote", "unknown")
    assert (report := RemoteReport.of(run.environment)) is not None
    assert report.cached_tokens is None


def test_counts_that_a_server_does_not_tell_are_no_0(store: RunStore) -> None:
    names = ("prompt_tokens", "cached_tokens", "drafted_tokens", "accepted_tokens")
    columns = [getattr(Run, name) for name in names]
    told = add(store, 2, drafted_tokens=0, accepted_tokens=0)
    silent = add(store, None, prompt_counted=False)
    with store._database.read() as session:
        kept = {run_id: tuple(rest) for run_id, *rest in session.execute(select(Run.id, *columns))}
    assert kept == {told: (METRICS.prompt_tokens, 2, 0, 0), silent: (None, None, None, None)}
    assert (metrics := store.get(silent).metrics) is not None
    assert [getattr(metrics, name) for name in names] == [0, 0, 0, 0]
    (only,) = store.by_configuration()
    assert (only.totals.prompt_tokens, only.totals.drafted_tokens) == (METRICS.prompt_tokens, 0)


@pytest.mark.parametrize("cached", [None, 2])
def test_peaks_of_memory_are_those_of_this_machine(store: RunStore, cached: int | None) -> None:
    add(store, cached)
    (only,) = store.by_configuration()
    assert (only.weights_bytes, only.kv_bytes) == (None, None)
    assert only.totals.cached_tokens == (cached or 0)
    alone = store.totals()
    assert (alone.weights_bytes, alone.kv_bytes, alone.peak_rss_bytes) == (None, None, None)
    here = make_metrics()
    add_run(store, metrics=here)
    both = store.totals()
    assert (both.weights_bytes, both.kv_bytes, both.peak_rss_bytes) == (
        here.weights_bytes, here.kv_bytes, here.peak_rss_bytes,
    )  # fmt: skip
    stats = {each.weights_bytes for each in store.by_configuration()}
    assert stats == {None, here.weights_bytes}


def test_a_prompt_of_which_nobody_knows_how_much_was_reused_counts_for_no_hit_rate(store: RunStore) -> None:
    add(store, None)
    assert store.totals().hit_rate is None
    add(store, 2)
    assert store.totals().hit_rate == 2 / METRICS.prompt_tokens
