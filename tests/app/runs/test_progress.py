"""How far a race of rounds has come."""

from __future__ import annotations

import pytest

from app.runs.progress import left_s, round_on_view
from app.runs.race import LaneRun, Race
from engine.types import Heartbeat, RunFinished
from tests.support.fakes import make_metrics, make_request


def race(rounds: int) -> Race:
    return Race.between({"a": make_request(), "b": make_request()}, rounds=rounds)


def finish(lane: LaneRun, e2e_s: float) -> None:
    lane.take(RunFinished("x", (1,), "stop", make_metrics(e2e_s=e2e_s), {}))


def test_nothing_is_promised_before_each_lane_has_answered_once() -> None:
    started = race(3)
    assert (round_on_view(started), left_s(started)) == (1, None)
    finish(started.rounds[0]["a"], 2.0)
    assert (round_on_view(started), left_s(started)) == (1, None)


def test_what_is_left_follows_the_earlier_rounds_and_the_clock() -> None:
    started = race(3)
    finish(started.rounds[0]["a"], 2.0)
    finish(started.rounds[0]["b"], 1.0)
    assert (round_on_view(started), left_s(started)) == (2, pytest.approx(2 * (2.0 + 1.0)))
    started.rounds[1]["b"].take(Heartbeat(0.4))
    assert left_s(started) == pytest.approx(5.6)
    started.rounds[1]["b"].take(Heartbeat(9.0))
    assert left_s(started) == pytest.approx(2.0 + 2.0 + 1.0), "a run that takes longer owes nothing"
    finish(started.rounds[1]["b"], 3.0)
    finish(started.rounds[1]["a"], 4.0)
    assert (round_on_view(started), left_s(started)) == (3, pytest.approx(3.0 + 2.0))


def test_a_race_that_is_over_is_in_its_last_round() -> None:
    started = race(2)
    started.let_go()
    assert (round_on_view(started), left_s(started)) == (2, 0.0)
