"""Runs that measurements need: made once more where others disturbed them, and left out of medians."""

from __future__ import annotations

from app.runs.answers import answer_undisturbed, disturbed_by, undisturbed
from app.runs.live_run import LiveRun
from tests.support.disturbing import DISTURBED, QUIET, WHY
from tests.support.fakes import FakeEngine, make_request


def ask(engine: FakeEngine) -> LiveRun:
    return answer_undisturbed(engine, make_request(), lambda run: None)


def test_a_disturbed_run_is_made_once_more_and_the_second_counts() -> None:
    engine = FakeEngine()
    engine.disturbances = [DISTURBED, QUIET]
    assert ask(engine).disturbed is None
    assert len(engine.requests) == 2


def test_what_is_disturbed_twice_is_not_tried_for_ever_and_keeps_its_mark() -> None:
    engine = FakeEngine()
    engine.disturbances = [DISTURBED] * 3
    assert ask(engine).disturbed == WHY
    assert len(engine.requests) == 2


def test_a_quiet_run_and_one_of_which_nobody_knows_are_made_once() -> None:
    engine = FakeEngine()
    engine.disturbances = [QUIET]
    assert [ask(engine).disturbed, ask(engine).disturbed] == [None, None]
    assert len(engine.requests) == 2


def test_disturbed_runs_count_only_where_there_are_no_others() -> None:
    engine = FakeEngine()
    engine.disturbances = [DISTURBED, DISTURBED, QUIET]
    disturbed, quiet = ask(engine), ask(engine)
    assert undisturbed([disturbed, quiet]) == [quiet]
    assert disturbed_by([disturbed, quiet]) is None
    assert undisturbed([disturbed]) == [disturbed]
    assert disturbed_by([disturbed]) == WHY
    assert disturbed_by([]) is None
