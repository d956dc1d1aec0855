"""Costs of another machine or of a price list, derived from what was recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cascade import Costs, Rates, RoutedPrompt, TierAnswer
from engine.errors import RecordedPairsError
from tests.support.cascade import STRONG, WEAK, answer, recorded

RATE = st.floats(0, 10)
SERVER = Costs(
    name="server",
    unit="s",
    tiers={
        WEAK: Rates(per_answer=0.1, per_prompt_token=0.001, per_completion_token=0.01),
        STRONG: Rates(per_answer=0.2, per_prompt_token=0.002, per_completion_token=0.05),
    },
)


def timed(prompt_tokens: int, tokens: int, *, overhead: float, prefill: float, step: float) -> TierAnswer:
    first = overhead + prefill * prompt_tokens + step
    return replace(
        answer(1.0, (-0.1,) * tokens), prompt_tokens=prompt_tokens, ttft_s=first, e2e_s=first + step * (tokens - 1)
    )


def test_a_machines_times_are_found_in_its_answers_though_some_were_disturbed() -> None:
    rng = np.random.default_rng(0)
    answers = [
        timed(int(length), int(tokens), overhead=0.05, prefill=0.002, step=0.03)
        for length, tokens in rng.integers((5, 2), (300, 60), (80, 2))
    ]
    for row in range(0, 80, 9):
        answers[row] = replace(answers[row], e2e_s=answers[row].e2e_s + 5, ttft_s=(answers[row].ttft_s or 0) + 2)
    rates = Rates.of(answers)
    assert rates.per_completion_token == pytest.approx(0.03, rel=0.02)
    assert rates.per_prompt_token == pytest.approx(0.002, rel=0.02)
    assert rates.per_answer == pytest.approx(0.05, rel=0.1)
    assert rates.error is not None
    assert rates.error < 0.01


def test_prompts_of_one_length_tell_no_prefill_and_single_tokens_no_step() -> None:
    assert Rates.of([timed(7, 12, overhead=0.1, prefill=0.01, step=0.02)] * 5).per_prompt_token == 0
    with pytest.raises(RecordedPairsError, match="two tokens"):
        Rates.of([answer(1.0, (-0.1,))])


@given(RATE, RATE, RATE, st.integers(1, 40), st.integers(1, 40))
def test_an_answer_costs_what_its_tokens_do(
    each: float, prompt: float, written: float, tokens: int, first: int
) -> None:
    rates = Rates(per_answer=each, per_prompt_token=prompt, per_completion_token=written)
    applied = rates.applied(answer(1.0, (-0.1,) * tokens, e2e_s=3.0))
    assert applied.e2e_s == pytest.approx(each + 7 * prompt + tokens * written)
    assert applied.first_token_s == pytest.approx(each + 7 * prompt + written)
    early = applied.after(first)
    assert early.e2e_s == pytest.approx(rates.cost(applied, min(first, tokens)))


def test_only_the_times_of_the_tiers_looked_at_change() -> None:
    prompts = recorded(20)
    elsewhere = SERVER.applied(prompts, (WEAK, STRONG))
    assert elsewhere[0].answers[WEAK].e2e_s == pytest.approx(0.1 + 0.007 + 0.12)
    for before, after in zip(prompts, elsewhere, strict=True):
        for tier in (WEAK, STRONG):
            kept = after.answers[tier]
            assert (kept.score, kept.logprobs, kept.text) == (
                before.answers[tier].score,
                before.answers[tier].logprobs,
                before.answers[tier].text,
            )
    with pytest.raises(RecordedPairsError, match="says nothing of other@int4"):
        SERVER.applied(prompts, ("other@int4", STRONG))


def test_times_survive_their_file() -> None:
    measured = Costs.measured("laptop", recorded(30))
    assert set(measured.tiers) == {WEAK, STRONG}
    assert Costs.from_json(measured.to_json().encode()) == measured
    # its own times are about those recorded
    again: tuple[RoutedPrompt, ...] = measured.applied(recorded(30), (WEAK, STRONG))
    assert again[0].answers[STRONG].e2e_s == pytest.approx(4.0, rel=0.1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "name": "a", "unit": "s", "tiers": {}}',
        '{"format": 1, "name": "a", "unit": "s", "tiers": {}}',
        '{"format": 1, "name": " ", "unit": "s", "tiers": {"a@int4": {}}}',
        '{"format": 1, "name": "a", "unit": "s", "tiers": {"a@int4": {"per_answer": -1, "per_prompt_token": 0, '
        '"per_completion_token": 0}}}',
        '{"format": 1, "name": "a", "unit": "s", "tiers": {"a@int4": {"per_year": 1}}}',
        " " * (2**20 + 1),
    ],
)
def test_other_files_are_refused_in_words(text: str) -> None:
    with pytest.raises(RecordedPairsError):
        Costs.from_json(text.encode())
