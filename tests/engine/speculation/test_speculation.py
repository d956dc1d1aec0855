"""Speculative decoding on real decoders: the tokens of plain decoding, whoever drafts whatever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import c_int32
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.backends.local import LocalModel
from engine.cache import KVCache
from engine.generation.choice import Choice
from engine.generation.token_buffer import TokenBuffer
from engine.passes import Steps, perform_alone
from engine.serving.memory.pool import ModelPool
from engine.speculation import (
    NO_DRAFT,
    Candidate,
    Controller,
    Draft,
    ModelDrafter,
    NgramDrafter,
    SharedKVDrafter,
    Speculator,
    StepTimes,
)
from engine.types import CPU_PRECISIONS, OptimizationConfig, Precision, RunConfig, SamplingParams, TokenSource
from tests.support.loading import load_model
from tests.support.tiny import make_tiny_checkpoint

TIMES = {rows: 0.01 + 0.001 * (rows - 1) for rows in (1, 2, 3, 5, 9, 17, 33)}
PROMPT = [5, 9, 12, 40, 41, 42, 43, 9, 12, 40, 41, 7]


@dataclass
class Sink:
    """Collects tokens, and ends the answer after so many or at one of them."""

    max_tokens: int = 40
    stop_ids: frozenset[int] = frozenset()
    told: Callable[[int], None] = lambda count: None
    tokens: list[int] = field(default_factory=list)
    sources: list[TokenSource] = field(default_factory=list)

    interrupt: c_int32 = field(default_factory=c_int32)

    @property
    def most(self) -> int:
        return max(1, self.max_tokens - len(self.tokens))

    def cancelled(self) -> bool:
        return False

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        pass

    def take(self, choices: Sequence[Choice]) -> tuple[int, bool]:
        for taken, choice in enumerate(choices, start=1):
            self.tokens.append(choice.token_id)
            self.sources.append(choice.source)
            self.told(len(self.tokens))
            if len(self.tokens) >= self.max_tokens or choice.token_id in self.stop_ids:
                return taken, False
        return len(choices), True


class Scripted:
    """A drafter that knows the answer, and spoils it as told."""

    def __init__(self, answer: Sequence[int], right: Callable[[int], bool]) -> None:
        self._answer = answer
        self._right = right

    def propose(self, text: TokenBuffer, count: int, generator: torch.Generator) -> Steps[Draft]:
        yield from ()
        at = len(text) - len(PROMPT)
        wanted = [*self._answer[at:], *[3] * count][:count]  # junk behind the end
        return Draft(tuple(t if self._right(at + i) else (t + 1) % 200 for i, t in enumerate(wanted)))

    def observe(self, token_ids: Sequence[int]) -> None:
        pass


@pytest.fixture(scope="module", params=CPU_PRECISIONS, ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    return load(folder, request.param)


def load(folder: Path, precision: Precision) -> LocalModel:
    pool = ModelPool(folder.parent)
    run = RunConfig(model=str(folder), optimization=OptimizationConfig.at(precision))
    loaded = load_model(pool, run)
    assert isinstance(loaded, LocalModel)
    return loaded


def write(
    model: LocalModel,
    sink: Sink,
    speculator: Speculator | None = None,
    sampling: SamplingParams | None = None,
    kv: KVCache | None = None,
) -> KVCache:
    kv = kv or model.decoder.new_cache(len(PROMPT) + sink.max_tokens)
    with torch.inference_mode():
        perform_alone(model.run(PROMPT, sampling or SamplingParams(), sink.max_tokens, sink, kv, speculator=speculator))
    return kv


def plain(model: LocalModel, max_tokens: int = 40, sampling: SamplingParams | None = None) -> list[int]:
    sink = Sink(max_tokens)
    write(model, sink, sampling=sampling)
    return sink.tokens


def scripted(answer: Sequence[int], right: Callable[[int], bool], gamma: int | None) -> Speculator:
    candidate = Candidate("scripted", Scripted(answer, right), 0.8, 0.0001)
    return Speculator(Controller(StepTimes(TIMES), gamma), [candidate])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    right=st.lists(st.booleans(), min_size=1, max_size=12),
    gamma=st.none() | st.integers(0, 9),
    max_tokens=st.integers(1, 30),
    sampling=st.sampled_from(
        [
            SamplingParams(),
            SamplingParams(repetition_penalty=1.3),
            SamplingParams(temperature=1.0, seed=1),
            SamplingParams(temperature=0.8, top_p=0.9, frequency_penalty=0.5, logit_bias=((3, 2.0),), seed=2),
        ]
    ),
)
def test_any_mixture_of_right_and_wrong_drafts_gives_plain_decodings_tokens(
    model: LocalModel, right: list[bool], gamma: int | None, max_tokens: int, sampling: SamplingParams
) -> None:
    """Sampled or not, and KV that plain decoding would have left, so that the next turn reuses nothing wrong."""
    wanted, sink = Sink(max_tokens), Sink(max_tokens)
    untouched = write(model, wanted, sampling=sampling)
    drafts = scripted(wanted.tokens, lambda at: right[at % len(right)], gamma)
    cache = write(model, sink, drafts, sampling)
    assert sink.tokens == wanted.tokens
    assert cache.length == untouched.length == len(PROMPT) + max_tokens - 1
    if model.decoder.invariant_rows > 1:
        for mine, its in zip(cache.layers, untouched.layers, strict=True):
            assert torch.equal(mine[: cache.length], its[: cache.length])


@pytest.mark.parametrize("gamma", [1, 5, 32])
def test_nothing_accepted_is_one_token_a_pass(model: LocalModel, gamma: int) -> None:
    sink = Sink(12)
    drafts = scripted(plain(model), lambda at: False, gamma)
    write(model, sink, drafts)
    report = drafts.report()
    assert sink.sources == ["target"] * 12
    assert [entry.accepted for entry in report.rounds] == [0] * len(report.rounds)
    assert [entry.at for entry in report.rounds] == list(range(1, 1 + len(report.rounds)))


@pytest.mark.parametrize("gamma", [1, 4])
def test_everything_accepted_is_gamma_and_one_a_pass(model: LocalModel, gamma: int) -> None:
    rounds = 3
    tokens = 1 + rounds * (gamma + 1)
    sink = Sink(tokens)
    drafts = scripted(plain(model), lambda at: True, gamma)
    write(model, sink, drafts)
    assert sink.sources == ["target", *(["draft"] * gamma + ["bonus"]) * rounds]
    report = drafts.report()
    assert [entry.accepted for entry in report.rounds] == [gamma] * rounds
    assert report.plain_steps == 0


def test_gamma_of_zero_never_drafts(model: LocalModel) -> None:
    sink = Sink(10)
    drafts = scripted(plain(model), lambda at: True, 0)
    write(model, sink, drafts)
    assert drafts.report().rounds == ()
    assert drafts.report().plain_steps == 9
    assert sink.tokens == plain(model, 10)


def test_drafts_never_reach_past_the_answers_room(model: LocalModel) -> None:
    """32 drafted tokens with room for 6: the KV has no position more."""
    sink = Sink(6)
    drafts = scripted(plain(model), lambda at: True, 32)
    cache = write(model, sink, drafts)
    assert sink.tokens == plain(model, 6)
    assert cache.capacity == len(PROMPT) + 6
    assert all(len(entry.token_ids) <= 5 for entry in drafts.report().rounds)


def test_an_end_inside_a_draft_ends_the_answer_there(model: LocalModel) -> None:
    wanted = plain(model)
    stop = wanted[6]
    first = wanted.index(stop)
    sink = Sink(40, frozenset([stop]))
    cache = write(model, sink, scripted(wanted, lambda at: True, 16))
    assert sink.tokens == wanted[: first + 1]
    assert cache.length == len(PROMPT) + first, "of the last token there is no KV"


def test_a_run_given_up_inside_a_round_keeps_what_was_written(model: LocalModel) -> None:
    wanted = plain(model)
    sink = Sink(40)
    drafts = scripted(wanted, lambda at: True, 8)
    sink.stop_ids = frozenset(wanted[4:5])
    cache = write(model, sink, drafts)
    again = Sink(20)
    with torch.inference_mode():
        cut = cache.length
        assert cut == len(PROMPT) + len(sink.tokens) - 1
        reused = model.decoder.new_cache(len(PROMPT) + 20)
        reused.copy_prefix(cache, len(PROMPT) - 1)
        perform_alone(model.run(PROMPT, SamplingParams(), 20, again, reused))
    assert again.tokens == wanted[:20]


def test_a_tie_is_decided_as_plain_decoding_does(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every logit the same: the first id wins, drafted or not."""
    real = type(model.decoder).logits
    monkeypatch.setattr(type(model.decoder), "logits", lambda self, hidden: real(self, hidden) * 0)
    sink = Sink(8)
    write(model, sink, scripted([0] * 8, lambda at: at % 3 > 0, 3))
    assert sink.tokens == [0] * 8


def test_a_sampled_answer_differs_by_seed_and_repeats_for_one(model: LocalModel) -> None:
    answers = []
    for seed in (1, 1, 2):
        sink = Sink(24)
        speculator = Speculator(Controller(StepTimes(TIMES), 4), [Candidate("ngram", NgramDrafter([], PROMPT))])
        write(model, sink, speculator, SamplingParams(temperature=1.0, seed=seed))
        answers.append(sink.tokens)
    assert answers[0] == answers[1] != answers[2]


def test_two_models_that_agree_draw_the_same_tokens(model: LocalModel) -> None:
    """A copy as fine as the model drafts by the model's own random numbers: every draft stands."""
    sampling, sink = SamplingParams(temperature=1.0, seed=4), Sink(31)
    cache = model.decoder.new_cache(len(PROMPT) + 31)
    drafter = SharedKVDrafter(model.decoder, model.vocab_size, sampling, cache)
    speculator = Speculator(Controller(StepTimes(TIMES), 4), [Candidate("copy", drafter, 0.8, 0.001)])
    write(model, sink, speculator, sampling, cache)
    rounds = speculator.report().rounds
    assert sum(entry.accepted for entry in rounds) >= 0.9 * sum(len(entry.token_ids) for entry in rounds)
    assert sink.tokens == plain(model, 31, sampling)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalModel, LocalModel, LocalModel]:
    """A model in 8 bits, its copy in 4, and another one with the same tokenizer."""
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("a"), "llama", hidden_size=128, intermediate_size=256)
    other = make_tiny_checkpoint(tmp_path_factory.mktemp("b"), "llama", hidden_size=64, seed=5)
    return load(folder, Precision.INT8), load(folder, Precision.INT4), load(other, Precision.INT8)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_copy_drafts_in_the_models_own_kv_and_leaves_no_trace(
    pair: tuple[LocalModel, LocalModel, LocalModel], temperature: float
) -> None:
    model, copy, _ = pair
    cache = model.decoder.new_cache(len(PROMPT) + 30)
    sampling = SamplingParams(temperature=temperature)
    drafter = SharedKVDrafter(copy.decoder, copy.vocab_size, sampling, cache)
    speculator = Speculator(Controller(StepTimes(TIMES), 3), [Candidate("copy", drafter, 0.8, 0.001)])
    sink = Sink(30)
    write(model, sink, speculator, sampling, cache)
    assert sum(entry.accepted for entry in speculator.report().rounds) > 5, "it agrees now and then"
    assert sink.tokens == plain(model, 30, sampling)
    fresh = model.decoder.new_cache(cache.length)
    with torch.inference_mode():
        model.decoder.forward(torch.tensor([*PROMPT, *sink.tokens[:-1]]), fresh)
    if model.decoder.invariant_rows > 1:
        for mine, its in zip(cache.layers, fresh.layers, strict=True):
            assert torch.equal(mine[: cache.length], its[: cache.length])


def test_a_smaller_model_keeps_its_own_kv_in_step(pair: tuple[LocalModel, LocalModel, LocalModel]) -> None:
    """What it drafts after refusals is what it would write from the text itself."""
    small = pair[2]
    drafter = ModelDrafter(small.decoder, small.vocab_size, SamplingParams(), 80)
    text = TokenBuffer(PROMPT, 80)
    with torch.inference_mode():
        for token in (7, 8, 50, 51, 9):
            drafted = perform_alone(drafter.propose(text, 4, torch.Generator()))
            fresh = ModelDrafter(small.decoder, small.vocab_size, SamplingParams(), 80)
            assert drafted.token_ids == perform_alone(fresh.propose(text, 4, torch.Generator())).token_ids
            text.append(drafted.token_ids[0])
            text.append(token)
            drafter.observe([drafted.token_ids[0], token])


def test_a_drafter_falls_silent_at_the_end_of_its_own_context(
    pair: tuple[LocalModel, LocalModel, LocalModel],
) -> None:
    small = pair[2]
    drafter = ModelDrafter(small.decoder, small.vocab_size, SamplingParams(), len(PROMPT) + 2)
    with torch.inference_mode():
        text = TokenBuffer(PROMPT, 80)
        assert len(perform_alone(drafter.propose(text, 8, torch.Generator())).token_ids) == 2
        for _ in range(3):
            text.append(1)
        assert perform_alone(drafter.propose(text, 8, torch.Generator())) is NO_DRAFT


def test_drafting_stays_out_of_a_window_that_would_slide(model: LocalModel) -> None:
    """What has left a window cannot be taken back, so near its end tokens are written one by one."""
    wanted, sink = Sink(70), Sink(70)
    write(model, wanted, kv=model.decoder.new_cache(0, window=64))
    drafts = scripted(wanted.tokens, lambda at: at % 4 > 0, 8)
    cache = write(model, sink, drafts, kv=model.decoder.new_cache(0, window=64))
    assert cache.dropped > 0
    assert drafts.report().rounds
    assert sink.tokens == wanted.tokens
