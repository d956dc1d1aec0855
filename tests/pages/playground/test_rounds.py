"""Races of several rounds, and of like with like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.runs.race import LaneRun
from app.session import playground as session
from app.store import RunStore
from engine.errors import ModelNotInstalledError
from engine.types import Backend, Precision
from tests.support.fakes import FakeEngine
from tests.support.playground import LANE_B, Lanes, run, set_rounds, words


def test_one_round_says_what_it_cannot_tell(playground: Any) -> None:
    page = run(playground(FakeEngine(delay_s=0.01)))
    assert "One round: differences below about 15 % are noise (not measured yet on this machine" in words(page)
    assert [next(iter(table.value)) for table in page.dataframe] == ["Cost"]


def test_rounds_alternate_and_their_medians_and_ranges_are_shown(playground: Any, store: RunStore) -> None:
    scripted = Lanes(FakeEngine(delay_s=0.02), FakeEngine(delay_s=0.01))
    page = run(set_rounds(playground(scripted), 3))
    backends = [request.config.backend for request in scripted.requests]
    a, b = Backend.REFERENCE, Backend.LOCAL
    assert backends == [a, b, b, a, a, b]
    assert len({row.group_id for row in store.page().rows}) == 1
    said = words(page)
    assert "2.0× faster from start to end" in said
    assert "3 rounds, Lane A over Lane B: E2E 2.0" in said
    assert "One round" not in said
    table, _ = page.dataframe
    assert list(table.value["Median of 3 rounds (range)"]) == ["Lane A", "Lane B"]
    assert list(table.value["TPOT"]) == ["20.0 ms", "10.0 ms"]
    assert "Below stands the last of 3 rounds." in said
    assert session.ROUNDS_OFFERED == (1, 3, 5)


def test_the_machine_counts_as_measured_after_a_race_of_rounds(playground: Any) -> None:
    page = run(set_rounds(playground(FakeEngine(delay_s=0.01)), 3))
    page = run(set_rounds(page, 1))
    assert "are noise on this machine." in words(page)


def test_a_lane_that_fails_in_every_round_is_compared_with_nothing(playground: Any) -> None:
    failing = FakeEngine(failure=ModelNotInstalledError("Gone."))
    page = run(set_rounds(playground(Lanes(failing, FakeEngine())), 3))
    assert "No comparison: Lane A failed." in words(page)


def test_one_click_compares_a_lane_with_itself_without_its_gears(playground: Any) -> None:
    scripted = FakeEngine(delay_s=0.01)
    page = playground(scripted)
    page.number_input(key=LANE_B.key("max-tokens")).set_value(4)
    run(page)
    assert "Lane A runs on transformers, Lane B runs on Gearbox's own kernels" in words(page)
    page.button(key="playground-like").click().run()
    assert not page.exception
    plain, geared = (request.config for request in scripted.requests[2:])
    assert (plain.backend, plain.precision, plain.optimization.cascade) == (Backend.LOCAL, Precision.BF16, None)
    assert (geared.backend, geared.precision) == (Backend.LOCAL, Precision.INT4)
    assert (plain.model, plain.sampling) == (geared.model, geared.sampling)
    assert not [button for button in page.button if button.key == "playground-like"]
    assert "runs on transformers" not in words(page)


def test_a_disturbed_race_is_said_first_and_can_be_run_again(playground: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = LaneRun.outcome
    monkeypatch.setattr(
        LaneRun, "outcome", lambda lane, name: replace(outcome(lane, name), disturbed="a compiler ran beside it")
    )
    scripted = Lanes(FakeEngine(delay_s=0.03), FakeEngine(delay_s=0.01))
    page = run(playground(scripted))
    (warning,) = page.warning
    assert warning.value == "Disturbed: Lane A: a compiler ran beside it. Lane B: a compiler ran beside it."
    assert not page.success
    page.button(key="playground-again").click().run()
    assert len(scripted.requests) == 4
