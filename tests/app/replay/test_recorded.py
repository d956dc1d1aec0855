"""Stored runs as lanes of a replay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.replay.recorded import ReplayError, ReplayLane
from app.store import RunRecord, RunStatus, RunStore, Timeline
from engine.types import Disturbance
from tests.support.fakes import make_metrics
from tests.support.ui import add_run


def stored(store: RunStore, run_id: str) -> tuple[RunRecord, Timeline | None]:
    return store.get(run_id), store.timeline(run_id)


def test_a_lane_has_the_runs_words_times_and_figures(store: RunStore) -> None:
    metrics = make_metrics(ttft_s=0.4, tpot_s=0.05, completion_tokens=4)
    run, timeline = stored(store, add_run(store, metrics=metrics))
    lane = ReplayLane.of(run, timeline, "int4")
    assert lane.pieces == ("The", " sky", " is", " blue.")
    assert lane.at_s == pytest.approx((0.4, 0.45, 0.5, 0.55))
    assert (lane.name, lane.model, lane.prompt) == ("int4", "smollm2-135m", "Why is the sky blue?")
    assert (lane.ttft_s, lane.tpot_s) == (0.4, 0.05)
    assert lane.e2e_s == pytest.approx(0.55)
    assert lane.recorded_at == run.created_at
    assert lane.note == ""


def test_machine_is_told_as_it_was_noted(store: RunStore) -> None:
    run, timeline = stored(store, add_run(store))
    noted = replace(run, environment={"device": "cpu", "cpu": "Xeon", "threads": 2, "kernel": "native"})
    assert ReplayLane.of(noted, timeline, "x").machine == "Xeon, 2 threads, native"


@pytest.mark.parametrize(
    ("tokens", "answer", "pieces"),
    [
        (("a", "b", "STOP"), "ab", ("a", "b", "")),
        (("a", "bST", "OP"), "ab", ("a", "b", "")),
        (("a", ""), "a\ufffd", ("a", "\ufffd")),
        (("a", "b"), "something else", ("", "something else")),
    ],
)
def test_a_lane_ends_with_the_answer_as_it_was_given(
    store: RunStore, tokens: tuple[str, ...], answer: str, pieces: tuple[str, ...]
) -> None:
    run, timeline = stored(store, add_run(store, words=tokens))
    lane = ReplayLane.of(replace(run, text=answer), timeline, "x")
    assert lane.pieces == pieces
    assert "".join(lane.pieces) == answer
    assert len(lane.at_s) == len(pieces)


def test_time_never_runs_backwards(store: RunStore) -> None:
    run, _ = stored(store, add_run(store))
    timeline = Timeline(token_ids=(1, 2, 3), texts=("a", "b", "c"), t_s=(0.2, 0.1, 0.3))
    assert ReplayLane.of(run, timeline, "x").at_s == (0.2, 0.2, 0.3)


def test_what_a_viewer_should_know_is_noted(store: RunStore) -> None:
    held_up = Disturbance(seconds=1.0, cores=2, threads=2, programs_s=2.0)
    shared = replace(make_metrics(), mean_batch_size=4.0)
    run, timeline = stored(store, add_run(store, status=RunStatus.STOPPED, metrics=shared, disturbance=held_up))
    note = ReplayLane.of(run, timeline, "x").note
    assert note == "stopped, disturbed by others on the machine, shared its passes with other requests"


@pytest.mark.parametrize("timeline", [None, Timeline()])
def test_a_run_without_tokens_is_refused_by_its_name(store: RunStore, timeline: Timeline | None) -> None:
    run, _ = stored(store, add_run(store))
    with pytest.raises(ReplayError, match="“bf16” cannot be replayed"):
        ReplayLane.of(run, timeline, "bf16")
