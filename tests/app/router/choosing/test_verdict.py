"""The Router lab's one verdict, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.choosing.verdict import Verdict, promise_in_words, promise_mark, verdict
from engine.cascade import KeepQuality, Promise, RiskAtMost, RoutedPrompt, SpendAtMost, Target, select
from tests.support.cascade import STRONG, WEAK, answer, prompt, recorded


def promise(*, shown: bool = False, more: int | None = None) -> Promise:
    return Promise(kind="quality", share=0.95, confidence=0.9, shown=shown, more_prompts=more)


@pytest.mark.parametrize(
    ("made", "mark"),
    [
        (None, ""),
        (promise(shown=True), ""),
        (promise(more=1200), "not shown yet, about 1,200 more prompts"),
        (promise(), "not shown"),
    ],
)
def test_a_promise_that_is_not_shown_is_marked_with_what_is_missing(made: Promise | None, mark: str) -> None:
    assert promise_mark(made) == mark


def test_a_promise_is_told_with_its_confidence() -> None:
    assert promise_in_words(promise()) == "keep at least 95 % of the large model's score (90 % confidence)"


KEEP = KeepQuality(0.95)


def told(prompts: tuple[RoutedPrompt, ...], target: Target = KEEP) -> Verdict:
    study = Study.of(prompts, WEAK, STRONG, Choice.ESCALATE)
    return verdict(study, select(study.data, target))


def test_a_promise_that_is_shown_says_what_it_costs() -> None:
    found = told(recorded(600))
    assert found.outcome == "shown"
    assert "keep at least 95 %" in found.title
    assert "On the 300 prompts that had no part in choosing" in found.because[0]
    assert "being sure costs" in found.because[1]
    assert found.usable


def test_a_threshold_that_misses_its_target_where_it_is_reported_says_that_first() -> None:
    found = told(recorded(60))
    assert found.outcome == "not shown"
    assert found.title == "Missed on the prompts that report: 0.79× of the quality"
    assert found.usable


def test_too_few_prompts_show_nothing_and_stay_usable() -> None:
    found = told(recorded(80))
    assert found.outcome == "not shown"
    assert found.title.startswith("Not shown yet: about ")
    assert "On the 40 prompts that had no part in choosing" in found.because[0]
    assert "You can use it" in found.because[1]
    assert found.usable


def test_where_no_threshold_saves_the_large_model_is_the_verdict_whatever_the_sample() -> None:
    for prompts in (30, 300):
        found = told(recorded(prompts, weak=0.0))
        assert found.outcome == "large"
        assert found.title == f"Always use {STRONG}: no threshold pays here"
        assert not found.usable


def test_tiers_that_score_the_same_leave_the_small_one_alone() -> None:
    found = told(recorded(400, weak=0.9, strong=0.9))
    assert found.outcome == "small"
    assert "90 % confidence" in found.title
    assert told(recorded(30, weak=0.9, strong=0.9)).outcome == "not shown"


@pytest.mark.parametrize("prompts", [1, 2, 30])
def test_a_large_model_that_is_never_right_leaves_nothing_to_keep(prompts: int) -> None:
    wrong = tuple(prompt(f"p{n}", answer(0.0), answer(0.0, e2e_s=4.0)) for n in range(prompts))
    assert told(wrong).outcome == "no quality"
    assert told(wrong, SpendAtMost(0.6)).outcome in ("small", "not shown", "shown")


def test_a_tier_that_answers_nothing_leaves_the_other() -> None:
    silent = tuple(
        replace(each, answers={WEAK: answer(0.0, (), text=""), STRONG: each.answers[STRONG]}) for each in recorded(40)
    )
    assert told(silent).outcome == "large"


def test_one_prompt_says_that_it_both_chose_and_reports() -> None:
    found = told((prompt("p", answer(1.0), answer(1.0, e2e_s=4.0)),))
    assert found.outcome == "not shown"
    assert "On the one prompt, which both chose and reports" in found.because[0]


def test_a_budget_below_any_threshold_is_too_dear() -> None:
    assert told(recorded(100), SpendAtMost(0.05)).outcome == "too dear"


def test_a_risk_has_the_same_verdicts() -> None:
    assert told(recorded(600), RiskAtMost(0.1)).outcome == "shown"
    assert told(recorded(20), RiskAtMost(0.05)).outcome == "not shown"
