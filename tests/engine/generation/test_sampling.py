"""Sampling as pure functions of logits: what each setting may and may not do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.generation.confidence import confidence
from engine.generation.sampling import (
    apply_repetition_penalty,
    draw,
    greedy_token,
    keep_top_k,
    keep_top_p,
    next_token_probabilities,
)
from engine.types import SamplingParams

NOTHING_SEEN = torch.empty(0, dtype=torch.long)

logits_strategy = st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40).map(torch.tensor)


def pick(logits: torch.Tensor, params: SamplingParams, seed: int = 0) -> int:
    if params.temperature == 0:
        return greedy_token(logits, params, NOTHING_SEEN)
    return draw(next_token_probabilities(logits, params, NOTHING_SEEN), torch.Generator().manual_seed(seed))


@given(logits_strategy)
def test_greedy_takes_the_likeliest(logits: torch.Tensor) -> None:
    assert logits[pick(logits, SamplingParams())] == logits.max()


@given(logits_strategy, st.floats(1e-6, 5), st.floats(0.01, 1), st.integers(0, 50))
def test_distribution_is_one_whatever_the_settings(logits: torch.Tensor, t: float, p: float, k: int) -> None:
    params = SamplingParams(temperature=t, top_p=p, top_k=k)
    probabilities = next_token_probabilities(logits, params, NOTHING_SEEN)
    assert torch.isfinite(probabilities).all()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)
    assert probabilities[logits.argmax()] == probabilities.max(), "the likeliest token always stays"


@given(logits_strategy, st.integers(1, 50))
def test_top_k_keeps_the_k_largest_and_their_ties(logits: torch.Tensor, k: int) -> None:
    kept = torch.isfinite(keep_top_k(logits, k))
    threshold = sorted(logits.tolist(), reverse=True)[min(k, len(logits)) - 1]
    assert kept.tolist() == [value >= threshold for value in logits.tolist()]


@given(logits_strategy, st.floats(0.01, 0.999))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: torch.Tensor, p: float) -> None:
    kept = torch.isfinite(keep_top_p(logits, p))
    probabilities = logits.double().softmax(-1)
    reached = float(probabilities[kept].sum())
    assert reached >= p - 1e-5
    assert reached - float(probabilities[kept].min()) < p + 1e-5, "one token fewer would not have reached p"


def test_top_p_of_a_known_distribution() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()
    assert torch.isfinite(keep_top_p(logits, 0.7)).tolist() == [False, True, False, True]


@given(logits_strategy, st.data())
def test_repetition_penalty_lowers_only_what_was_seen(logits: torch.Tensor, data: st.DataObject) -> None:
    seen = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=10))
    out = apply_repetition_penalty(logits, torch.tensor(seen, dtype=torch.long), 1.5)
    for i, (before, after) in enumerate(zip(logits.tolist(), out.tolist(), strict=True)):
        assert after <= before if i in seen else after == before


def test_repetition_penalty_counts_a_repeat_once() -> None:
    out = apply_repetition_penalty(torch.tensor([4.0, -4.0]), torch.tensor([0, 0, 1, 1]), 2.0)
    assert out.tolist() == [2.0, -8.0]


@given(logits_strategy, st.floats(0.1, 3), st.integers(0, 2**32))
def test_a_seed_gives_the_same_token_again(logits: torch.Tensor, temperature: float, seed: int) -> None:
    params = SamplingParams(temperature=temperature)
    assert pick(logits, params, seed) == pick(logits, params, seed)


def test_samples_follow_the_distribution() -> None:
    """Pearson's chi-squared over 4,000 draws; 20.5 is the 0.1 % point at 5 degrees of freedom."""
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -2.0])
    params = SamplingParams(temperature=1.3)
    expected = (logits.double() / 1.3).softmax(-1) * 4000
    generator = torch.Generator().manual_seed(3)
    counts = torch.zeros(6, dtype=torch.double)
    for _ in range(4000):
        counts[draw(next_token_probabilities(logits, params, NOTHING_SEEN), generator)] += 1
    assert float(((counts - expected) ** 2 / expected).sum()) < 20.5


@given(logits_strategy)
def test_confidence_is_the_log_softmax_and_its_entropy(logits: torch.Tensor) -> None:
    wanted = logits.double().log_softmax(-1)
    logprob, entropy, margin = confidence(logits, 1)
    best, second = logits.topk(2).values.tolist()
    assert margin == pytest.approx(best - second)
    assert logprob == pytest.approx(float(wanted[1]), abs=1e-3)
    assert entropy == pytest.approx(float(-(wanted.exp() * wanted).sum()), abs=1e-3)
    assert 0 <= entropy <= math.log(len(logits)) + 1e-4


@pytest.mark.parametrize("size", [2, 7, 8, 9, 1024, 1031, 49_152])
@pytest.mark.parametrize("masked", [False, True])
def test_confidence_over_any_number_of_tokens(size: int, masked: bool) -> None:
    """What is left over behind whole steps of eight counts too, and a masked token counts as impossible."""
    logits = torch.randn(size, generator=torch.Generator().manual_seed(size)) * 8
    if masked and size > 2:
        logits[1::3] = -torch.inf
    wanted = logits.double().log_softmax(-1)
    logprob, entropy, margin = confidence(logits, 0)
    assert logprob == pytest.approx(float(wanted[0]), abs=1e-4)
    assert entropy == pytest.approx(float(-(wanted.exp() * wanted.nan_to_num(neginf=0)).sum()), abs=1e-4)
    best, second = logits.topk(2).values.tolist()
    assert margin == pytest.approx(best - second)


def test_confidence_of_what_is_no_number_is_none() -> None:
    for place in (3, 16):
        logits = torch.zeros(17)
        logits[place] = math.nan
        assert math.isnan(confidence(logits, 0).logprob)
        assert math.isnan(confidence(logits, 0).entropy)
