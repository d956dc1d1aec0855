"""Tokens chosen by the kernels are those that torch would choose, by the same random numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from ctypes import c_int32

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import NonFiniteLogitsError
from engine.generation.choice import Choice
from engine.generation.choosing import Chooser, draws_as_torch
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
    frequency_penalty=st.sampled_from([0.0, 0.3, -1.7]),
    presence_penalty=st.sampled_from([0.0, 1.1, -0.4]),
    logit_bias=st.sampled_from([(), ((0, 2.5),), ((2, -100.0), (1, 0.7))]),
    top_logprobs=st.sampled_from([0, 1, 7, 20]),
)


class EveryOther:
    """A constraint: after each token those of the same parity, but for every fifth."""

    def __init__(self, vocab_size: int) -> None:
        self._tokens = torch.arange((vocab_size + 31) // 32 * 32)
        self.allowed = torch.zeros((vocab_size + 31) // 32, dtype=torch.int32)
        self.accept(0)

    def may(self, token_id: int, before: int) -> bool:
        return token_id % 2 == before % 2 and token_id % 5 != 4

    def accept(self, token_id: int) -> None:
        wanted = (self._tokens % 2 == token_id % 2) & (self._tokens % 5 != 4)
        words = (wanted.view(-1, 32).long() << torch.arange(32)).sum(-1)
        self.allowed.copy_(torch.where(words >= 2**31, words - 2**32, words))


def choosers(
    sampling: SamplingParams, vocab_size: int, prompt: Sequence[int] = (1, 2, 1), *, constrained: bool = False
) -> tuple[Chooser, Chooser]:
    """By the kernels, and by torch."""
    native, plain = (
        Chooser(TokenBuffer(prompt, 40), sampling, vocab_size, (), EveryOther(vocab_size) if constrained else None)
        for _ in range(2)
    )
    assert native._native
    plain._native = None
    return native, plain


def choices(chooser: Chooser, logits: torch.Tensor, count: int) -> list[Choice]:
    return [chooser.choose(logits)._replace(t=0.0) for _ in range(count)]


def test_this_build_of_torch_draws_as_the_kernels_do() -> None:
    assert draws_as_torch()


@given(samplings, st.sampled_from([3, 8, 9, 64, 1000, 3001]), st.integers(0, 2**31), st.floats(0.01, 8), st.booleans())
@settings(max_examples=300)
def test_tokens_and_their_confidence_are_torchs_own(
    sampling: SamplingParams, vocab: int, seed: int, scale: float, constrained: bool
) -> None:
    logits = torch.randn(vocab + 2, generator=torch.Generator().manual_seed(seed)) * scale
    logits[-2:] = 1e4  # padding: no tokens
    native, plain = choosers(sampling, vocab, constrained=constrained)
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


@given(samplings, st.integers(0, 2**31))
def test_what_is_not_allowed_is_never_chosen(sampling: SamplingParams, seed: int) -> None:
    logits, rule = torch.randn(101, generator=torch.Generator().manual_seed(seed)) * 4, EveryOther(101)
    for chooser in choosers(sampling, 101, constrained=True):
        before = 0
        for choice in choices(chooser, logits, 6):
            assert rule.may(choice.token_id, before)
            before = choice.token_id


@given(st.lists(st.sampled_from([-math.inf, -3.0, 0.0, 1.5]), min_size=1, max_size=70), st.integers(1, 20))
def test_the_likeliest_are_told_in_order_with_the_models_own_probabilities(values: list[float], count: int) -> None:
    """Whatever is added, forbidden or cut: before temperature, penalty and cuts."""
    logits, sampling = torch.tensor(values), SamplingParams(temperature=2.0, logit_bias=((0, 50.0),), top_k=1)
    native, plain = choosers(dataclasses.replace(sampling, top_logprobs=count), len(values), [0])
    wanted = sorted(((-value, place) for place, value in enumerate(values) if value > -math.inf))[:count]
    logprobs = logits.double().log_softmax(-1)
    for chooser in (native, plain) if wanted else ():
        (choice,) = choices(chooser, logits, 1)
        assert [token_id for token_id, _ in choice.likeliest] == [place for _, place in wanted]
        for token_id, logprob in choice.likeliest:
            assert logprob == pytest.approx(float(logprobs[token_id]), abs=1e-5)


def test_of_logits_that_are_no_numbers_nothing_is_likeliest() -> None:
    logits = torch.zeros(20)
    logits[11] = math.nan
    for chooser in choosers(SamplingParams(top_logprobs=3), 20):
        assert chooser.choose(logits).likeliest == ()


def test_penalties_count_in_the_answer_and_not_in_the_prompt() -> None:
    logits = torch.tensor([1.0, 0.9, 0.2])
    sampling = SamplingParams(frequency_penalty=0.5, presence_penalty=0.25)
    for chooser in choosers(sampling, 3, prompt=[0, 0, 0, 1]):
        # 1.0 | 0.25 0.9 0.2 | 0.25 0.15 0.2 | -0.25 0.15 0.2 | -0.25 0.15 -0.55
        assert [choice.token_id for choice in choices(chooser, logits, 5)] == [0, 1, 0, 2, 1]


def test_the_first_tokens_of_an_answer_that_are_there_already_are_penalized() -> None:
    sampling = SamplingParams(presence_penalty=1.0)
    for answered, wanted in ((0, 1), (1, 0)):
        text = TokenBuffer([0, 1], 8, answered)
        assert Chooser(text, sampling, 2).choose(torch.tensor([0.5, 1.0])).token_id == wanted


def test_a_constraint_is_asked_after_each_token_and_nothing_else_is() -> None:
    """Plain texts go on many tokens at a time."""
    for constrained, wanted in ((True, 1), (False, 30)):
        sampling = SamplingParams(frequency_penalty=1.0, logit_bias=((1, 1.0),), top_logprobs=2)
        chooser, _ = choosers(sampling, 40, constrained=constrained)
        asked = chooser.ask(c_int32(), 30, 1.0)
        assert asked is not None
        assert asked.most == wanted
