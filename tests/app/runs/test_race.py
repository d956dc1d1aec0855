"""A lane's state follows the events, whatever order they end in."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runs.live_run import Phase
from app.runs.race import LaneRun, Race
from app.runs.service import RunCreated, RunNotSaved, RunSaved, UiEvent
from app.store import RunOutcome, RunStatus, RunStore, Timeline
from engine.types import (
    FinishReason,
    Heartbeat,
    Loading,
    PrefillDone,
    Queued,
    RunFailed,
    RunFinished,
    SamplingParams,
    Started,
    TokenEvent,
)
from tests.support.fakes import make_metrics, make_request


def token(text: str, t: float = 0.5) -> TokenEvent:
    return TokenEvent(token_id=7, text=text, t=t, logprob=-0.1, entropy=0.2)


def finished(text: str, reason: FinishReason = "stop") -> RunFinished:
    return RunFinished(text, (7,), reason, make_metrics(), {})


@pytest.fixture
def lane() -> LaneRun:
    return LaneRun(make_request())


def test_phases_follow_the_events(lane: LaneRun) -> None:
    assert lane.phase is Phase.WAITING
    phases = []
    events: list[UiEvent] = [
        Queued(2),
        Loading("Loading", 0.5),
        Started(prompt_tokens=3, queue_s=0.0, load_s=0.0),
        PrefillDone(0, 3),
        token("a"),
        finished("a"),
    ]
    for event in events:
        lane.take(event)
        phases.append(lane.phase)
    assert phases == [Phase.QUEUED, Phase.LOADING, Phase.READING, Phase.WRITING, Phase.WRITING, Phase.OVER]
    assert (lane.queue_position, lane.status) == (2, RunStatus.FINISHED)


def test_text_grows_and_the_final_text_counts(lane: LaneRun) -> None:
    lane.take(token("a", 0.25))
    lane.take(token("b", 0.5))
    assert (lane.text, len(lane.tokens), lane.elapsed_s) == ("ab", 2, 0.5)
    lane.take(finished("a"))
    assert lane.text == "a"


def test_heartbeat_moves_the_clock_only(lane: LaneRun) -> None:
    lane.take(token("a"))
    lane.take(Heartbeat(3.0))
    assert (lane.elapsed_s, lane.phase, lane.text) == (3.0, Phase.WRITING, "a")


def test_clock_leaves_loading_out(lane: LaneRun) -> None:
    lane.take(RunCreated("r1"))
    assert lane.phase is Phase.LOADING
    lane.take(Started(prompt_tokens=3, queue_s=0.0, load_s=2.0))
    lane.take(Heartbeat(2.5))
    assert lane.elapsed_s == 0.5


def test_cancelled_run_is_stopped(lane: LaneRun) -> None:
    lane.take(finished("a", "abort"))
    assert lane.status is RunStatus.STOPPED


def test_failure_keeps_the_text(lane: LaneRun) -> None:
    lane.take(token("a"))
    lane.take(RunFailed("Out of memory.", "InsufficientMemoryError"))
    assert (lane.status, lane.error, lane.text) == (RunStatus.FAILED, "Out of memory.", "a")


def test_run_that_is_over_cannot_be_stopped(lane: LaneRun) -> None:
    lane.take(finished("a"))
    lane.stop()
    assert lane.status is RunStatus.FINISHED


def test_what_the_store_says_is_noted(lane: LaneRun) -> None:
    lane.take(RunCreated("r1"))
    lane.take(finished("a"))
    lane.take(RunNotSaved("r1", "The disk is full."))
    assert (lane.run_id, lane.not_saved, lane.status) == ("r1", "The disk is full.", RunStatus.FINISHED)
    lane.take(RunSaved("r1", RunStatus.STOPPED))
    assert lane.status is RunStatus.STOPPED


def test_letting_go_stops_what_is_not_over() -> None:
    race = Race.between({"a": make_request(), "b": make_request()})
    race.lanes["a"].take(RunCreated("r1"))
    race.lanes["a"].take(finished("done"))
    race.let_go()
    assert [run.status for run in race.lanes.values()] == [RunStatus.FINISHED, RunStatus.STOPPED]
    assert race.over.is_set()
    assert race.run_ids == ("r1",)


def test_time_left_follows_the_pace_up_to_max_tokens() -> None:
    lane = LaneRun(make_request(sampling=SamplingParams(max_tokens=10)))
    lane.take(token("a", 1.0))
    assert lane.at_most_left_s is None
    lane.take(token("b", 1.5))
    lane.take(token("c", 2.0))
    assert lane.at_most_left_s == pytest.approx(3.5)


def test_a_lane_takes_over_what_the_store_kept(tmp_path: Path) -> None:
    store = RunStore.open(f"sqlite:///{tmp_path / 'gearbox.db'}")
    lane = LaneRun(make_request())
    lane.run_id = store.create_run(lane.request, person_id="s", environment={})
    lane.take(token("a"))
    lane.stop()

    unfinished = store.get(lane.run_id)
    lane.adopt(unfinished, Timeline())
    assert (lane.text, lane.status) == ("a", RunStatus.STOPPED), "a row that was never finished knows less"
    assert lane.not_saved

    told = [token("a", 0.5), token("b", 0.75)]
    outcome = RunOutcome(status=RunStatus.STOPPED, text="ab", finish_reason="abort", metrics=make_metrics())
    store.finish_run(lane.run_id, outcome, Timeline.from_events(told))
    lane.adopt(store.get(lane.run_id), store.timeline(lane.run_id) or Timeline())
    assert (lane.text, len(lane.tokens), lane.finish_reason) == ("ab", 2, "abort")
    assert lane.metrics == make_metrics()
    store.close()


def test_every_second_round_runs_the_lanes_in_the_opposite_order():
    race = Race.between({"a": make_request(), "b": make_request()}, rounds=3)
    assert [name for name, _ in race.schedule] == ["a", "b", "b", "a", "a", "b"]
    assert len({id(lane) for _, lane in race.schedule}) == 6


def test_the_round_that_runs_is_shown_and_in_the_end_the_last():
    race = Race.between({"a": make_request(), "b": make_request()}, rounds=2)
    assert race.lanes is race.rounds[0]
    for lane in race.rounds[0].values():
        lane.take(finished("done"))
    assert race.lanes is race.rounds[1]
    race.let_go()
    assert race.lanes is race.rounds[1]
