"""Tokens chosen by the kernels are those that torch would choose, by the same random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import NonFiniteLogitsError
from engine.generation.choosing import Choice, Chooser, draws_as_torch
from engine.generation.token_buffer import TokenBuffer
from engine.types import SamplingParams
from tests.engine.native.test_kernels import needs_kernels

pytestmark = needs_kernels

samplings = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.01, 0.7, 1.0, 3.0]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.01]),
    top_k=st.sampled_from([0, 1, 5, 1000]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.8]),
    seed=st.integers(0, 2**63 - 1),
)


def choosers(sampling: SamplingParams, vocab_size: int, prompt: Sequence[int] = (1, 2, 1)) -> tuple[Chooser, Chooser]:
    """By the kernels, and by torch."""
    native, plain = (Chooser(TokenBuffer(prompt, 40), sampling, vocab_size) for _ in range(2))
    assert native._native
    plain._native = None
    return native, plain


def choices(chooser: Chooser, logits: torch.Tensor, count: int) -> list[Choice]:
    return [chooser.choose(logits)._replace(t=0.0) for _ in range(count)]


def test_this_build_of_torch_draws_as_the_kernels_do() -> None:
    assert draws_as_torch()


@given(samplings, st.sampled_from([3, 8, 9, 64, 1000, 3001]), st.integers(0, 2**31), st.floats(0.01, 8))
@settings(max_examples=150)
def test_tokens_and_their_confidence_are_torchs_own(
    sampling: SamplingParams, vocab: int, seed: int, scale: float
) -> None:
    logits = torch.randn(vocab + 2, generator=torch.Generator().manual_seed(seed)) * scale
    logits[-2:] = 1e4  # padding: no tokens
    native, plain = choosers(sampling, vocab)
    assert choices(native, logits, 5) == choices(plain, logits, 5)
    assert native.text.since(0) == plain.text.since(0)
    assert torch.equal(native.generator.get_state(), plain.generator.get_state())


@given(st.lists(st.sampled_from([-math.inf, -2.0, 0.0, 1.0]), min_size=2, max_size=40), st.sampled_from([1.0, 1.5]))
def test_of_equals_the_first_wins(values: list[float], penalty: float) -> None:
    native, plain = choosers(SamplingParams(repetition_penalty=penalty), len(values), [0])
    logits = torch.tensor(values)
    assert native.choose(logits).token_id == plain.choose(logits).token_id


@given(st.integers(1, 60), st.floats(0.05, 1), st.integers(0, 1000))
def test_a_nucleus_among_equals_holds_as_many_as_it_takes(vocab: int, p: float, seed: int) -> None:
    """Which of equals they are is nobody's promise; how many, is."""
    native, _ = choosers(SamplingParams(temperature=1.0, top_p=p, seed=seed), vocab, [0])
    drawn = {native.choose(torch.zeros(vocab)).token_id for _ in range(30)}
    assert len(drawn) <= math.ceil(p * vocab + 1e-3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_chunks_of_draws_take_no_number_twice(temperature: float) -> None:
    """What torch draws between two choices of the kernels comes from the same stream."""
    sampling, logits = SamplingParams(temperature=temperature, seed=5), torch.randn(700)
    native, plain = choosers(sampling, 700)
    for chooser in (native, plain):
        chooser.choose(logits)
        torch.rand((), generator=chooser.generator)
        chooser.choose(logits)
    assert native.text.since(0) == plain.text.since(0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_token_is_drawn_from_what_is_no_number(bad: float) -> None:
    logits = torch.zeros(20)
    logits[11] = bad
    native, _ = choosers(SamplingParams(temperature=1.0), 20)
    with pytest.raises(NonFiniteLogitsError, match="NaN or infinity"):
        native.choose(logits)
    assert len(native.text) == 3
    greedy, plain = choosers(SamplingParams(), 20)
    assert greedy.choose(logits).token_id == plain.choose(logits).token_id == 11


def test_each_text_has_random_numbers_of_its_own() -> None:
    sampling, logits = SamplingParams(temperature=1.0, seed=5), torch.randn(700)
    alone, _ = choosers(sampling, 700)
    wanted = choices(alone, logits, 6)
    (one, _), (other, _) = choosers(sampling, 700), choosers(sampling, 700)
    beside = [(one.choose(logits)._replace(t=0.0), other.choose(logits)._replace(t=0.0)) for _ in range(6)]
    assert beside == list(zip(wanted, wanted, strict=True))
