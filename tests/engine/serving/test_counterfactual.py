"""What a model alone would have taken, derived from what its tokens take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.serving.counterfactual import Lengths, Pace, Paces
from engine.speculation import StepTimes
from engine.types import OptimizationConfig, Precision

TIMES = StepTimes({1: 0.02, 2: 0.03, 3: 0.04})


def test_it_gives_back_what_it_was_shown() -> None:
    pace = Pace()
    pace.observe(100, 0.5, 11, 0.5 + 10 * 0.04)
    assert pace.seconds(100, 11, None) == pytest.approx(0.9)
    assert pace.seconds(200, 1, None) == pytest.approx(1.0), "the first token comes with the prompt"


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 50), st.integers(0, 50))
def test_more_tokens_never_take_less(read: int, written: int, more_read: int, more_written: int) -> None:
    pace = Pace()
    pace.observe(40, 0.2, 20, 1.0)
    less, more = pace.seconds(read, written, None), pace.seconds(read + more_read, written + more_written, None)
    assert less is not None
    assert more is not None
    assert less <= more + 1e-12


def test_before_any_run_timed_passes_tell_and_without_them_nothing() -> None:
    assert Pace().seconds(3, 5, None) is None
    assert Pace().seconds(3, 5, TIMES) == pytest.approx(0.04 + 4 * 0.02)


def test_what_no_run_has_shown_is_taken_from_timed_passes() -> None:
    pace = Pace()
    pace.observe(10, 0.1, 1, 0.1)
    assert pace.seconds(10, 3, TIMES) == pytest.approx(0.1 + 2 * 0.02)
    assert pace.seconds(10, 3, None) is None


def test_a_machine_that_grows_slower_is_followed() -> None:
    pace = Pace()
    for step_s in [0.01] * 50 + [0.02] * 100:
        pace.observe(10, 0.1, 11, 0.1 + 10 * step_s)
    derived = pace.seconds(10, 11, None)
    assert derived is not None
    assert derived == pytest.approx(0.3, rel=0.02)


def test_a_model_with_other_gears_has_a_pace_of_its_own_and_few_are_kept() -> None:
    paces = Paces()
    int4, int8 = (OptimizationConfig.at(precision) for precision in (Precision.INT4, Precision.INT8))
    first = paces.of("m", int4)
    assert paces.of("m", int4) is first
    assert paces.of("m", int8) is not first
    for n in range(100):
        paces.of(f"m{n}", int4)
    assert paces.of("m", int4) is not first


def test_a_model_that_writes_less_is_taken_to_have_written_less() -> None:
    lengths = Lengths()
    assert lengths.ratio == 1
    for _ in range(50):
        lengths.observe(small=100, large=40)
    assert lengths.ratio == pytest.approx(0.4, abs=0.02)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=40))
def test_it_is_never_claimed_to_have_written_more(answers: list[tuple[int, int]]) -> None:
    lengths = Lengths()
    for small, large in answers:
        lengths.observe(small, large)
    assert 0 < lengths.ratio <= 1


def test_few_answers_say_little_of_lengths() -> None:
    lengths = Lengths()
    lengths.observe(small=4, large=1)
    assert lengths.ratio > 0.8


def test_two_models_have_lengths_of_their_own() -> None:
    paces = Paces()
    assert paces.lengths("a", "b") is paces.lengths("a", "b")
    assert paces.lengths("a", "b") is not paces.lengths("b", "a")
