"""How long an experiment is said to take before it is begun."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.estimates import AnswerTime
from app.experiments.planning.estimates import seconds_of
from app.store import Pass
from engine import Task
from engine.types import Precision
from tests.support.experiments import configuration, design

TASK = Task(id="one", category="c", prompt="four" * 10, max_tokens=100)  # about ten tokens to read
TIMES = {"bf16": AnswerTime(0.1, 0.01, 5.0), "int4": AnswerTime(0.05, 0.01, 1.0)}
BF16_S = 60 * 0.1 + 0.1  # six tenths of what it may write, and the reading
INT4_S = 60 * 0.05 + 0.1
READ_AGAIN_S = 70 * 0.02  # prompt and answer, by both


def estimated(**changed: object) -> float | None:
    made = replace(design([TASK]), **changed)  # type: ignore[arg-type]
    return seconds_of(made, lambda model: TIMES if model == "small" else {}, sooner=2.0)


def test_answers_for_quality_come_sooner_than_one_after_the_other() -> None:
    assert estimated(passes=(Pass.QUALITY,)) == pytest.approx((BF16_S + INT4_S) / 2 + READ_AGAIN_S + 6.0)
    assert estimated(passes=(Pass.SPEED,)) == pytest.approx(BF16_S + INT4_S + 6.0)


def test_repeats_are_timed_and_greedy_answers_given_once() -> None:
    assert estimated(repeats=3) == pytest.approx((BF16_S + INT4_S) * (0.5 + 3) + READ_AGAIN_S + 6.0)


def test_a_model_is_loaded_once_however_many_configurations_have_it() -> None:
    both = (configuration("one"), configuration("two"))
    assert estimated(configurations=both, passes=(Pass.SPEED,)) == pytest.approx(2 * INT4_S + 1.0)


def test_fewer_tokens_take_less() -> None:
    assert estimated(passes=(Pass.SPEED,), max_tokens=10) == pytest.approx(6 * 0.15 + 0.2 + 6.0)
    assert estimated(max_tokens=500) == estimated()


def test_sixteen_bits_read_once_for_all_that_are_held_against_them() -> None:
    three = (configuration("16 bits", Precision.BF16), configuration("one"), configuration("two"))
    alone = (BF16_S + 2 * INT4_S) / 2 + 6.0
    assert estimated(configurations=three, passes=(Pass.QUALITY,)) == pytest.approx(alone + 70 * 0.03)


def test_what_was_never_measured_is_not_guessed() -> None:
    assert estimated(configurations=(configuration("one"), configuration("two", model="large"))) is None
