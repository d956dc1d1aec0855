"""Whether two tiers say the same."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.reporting.consistency import TierAgreement, changes_tier, normalized, word_f1
from tests.support.cascade import STRONG, WEAK, answer, prompt


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("The sky is blue.", "the  SKY is blue", 1.0),
        ("a b", "b c", 0.5),
        ("a a b", "a b b", 2 / 3),
        ("yes", "no", 0.0),
        ("", "", 1.0),
        ("", "yes", 0.0),
        ("5", "-5", 0.0),
        ("+", "=", 0.0),
        ("1,234.5", "1,234.5.", 1.0),
    ],
)
def test_words_in_common(one: str, other: str, f1: float) -> None:
    assert word_f1(one, other) == pytest.approx(f1)
    assert (normalized(one) == normalized(other)) == (f1 == 1.0)


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_likeness_is_mutual_and_a_share(one: str, other: str) -> None:
    assert word_f1(one, other) == word_f1(other, one)
    assert 0 <= word_f1(one, other) <= 1
    assert word_f1(one, one) == 1


def test_agreement_counts_and_puts_contradictions_first() -> None:
    prompts = [
        prompt("same", answer(1.0, text="Four."), answer(1.0, text="four")),
        prompt("worded otherwise", answer(1.0, text="It is four"), answer(1.0, text="four")),
        prompt("lost", answer(1.0, text="four"), answer(0.0, text="five")),
        prompt("gained", answer(0.0, text="it is five"), answer(1.0, text="it is four")),
        prompt("neither", answer(0.0, text="six"), answer(0.0, text="seven")),
        prompt("unscored", answer(None, text="hello"), answer(None, text="hello there")),
    ]
    found = TierAgreement.of(prompts, WEAK, STRONG)
    counts = (found.both_right, found.only_weak, found.only_strong, found.both_wrong, found.unscored, found.same)
    assert counts == (2, 1, 1, 1, 1, 1)
    order = [pair.prompt_id for pair in found.pairs]
    assert order == ["lost", "gained", "neither", "worded otherwise", "unscored", "same"]
    assert found.mean_similarity == pytest.approx((1 + 0.5 + 0 + 2 / 3 + 0 + 2 / 3) / 6)


def test_nothing_in_common_to_compare() -> None:
    found = TierAgreement.of([prompt("a", answer(), answer())], WEAK, "another@int4")
    assert (found.pairs, found.mean_similarity) == ((), None)


def test_conversations_that_change_tier() -> None:
    conversations = [[0.1, 0.2], [0.1, 0.9, 0.1], [0.9, math.nan], [0.1, math.nan], [0.9]]
    assert changes_tier(conversations, 0.5) == pytest.approx(2 / 4)
    assert changes_tier([[0.3]], 0.5) is None


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", ["1.", "1,", "-1", "a ", "a", " ", "\n", "e\u0301", "−"])
def test_answers_of_a_megabyte_are_compared_in_bounded_time(unit: str) -> None:
    text = unit * (10**6 // len(unit))
    assert normalized(text) == normalized(f" {text} ")
    assert word_f1(text, text) == 1
