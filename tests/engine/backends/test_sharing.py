"""Sequences whose passes are performed together write, to the last bit, what each writes alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from ctypes import c_int32
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.backends.local import LocalModel
from engine.backends.sharing import perform_together
from engine.errors import NonFiniteLogitsError
from engine.generation.choice import Choice
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.passes import Continuation, Hidden, Logits, Pass, Steps, Whole, perform_alone
from engine.serving.memory.pool import ModelPool
from engine.speculation import Candidate, Controller, NgramDrafter, Speculator, StepTimes
from engine.types import (
    CPU_PRECISIONS,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
)
from tests.conftest import SMALL
from tests.engine.native.test_company import on_threads, samplings
from tests.engine.native.test_kernels import needs_kernels
from tests.engine.speculation.test_speculation import TIMES, Sink, load
from tests.support.loading import load_model, open_model
from tests.support.tiny import make_tiny_checkpoint

NEVER, AT_ONCE = c_int32(0), c_int32(1)


@pytest.fixture(scope="module", params=CPU_PRECISIONS, ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    return load(folder, request.param)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("n"), "llama", hidden_size=128, intermediate_size=256)
    return load(folder, Precision.INT4)


@dataclass
class Recording(Sink):
    """Keeps all that is said of a token."""

    choices: list[Choice] = field(default_factory=list)

    def take(self, choices: Sequence[Choice]) -> tuple[int, bool]:
        taken, goes_on = super().take(choices)
        self.choices += [choice._replace(t=0.0) for choice in choices[:taken]]
        return taken, goes_on


@dataclass(frozen=True)
class Request:
    """What somebody wants written."""

    prompt: tuple[int, ...]
    sampling: SamplingParams
    max_tokens: int
    dtype: KVDtype
    window: int | None
    gamma: int | None
    """Drafts of so many tokens; ``None`` for no speculation."""

    def steps(self, model: LocalModel, sink: Sink) -> Steps[Any]:
        kv = model.decoder.new_cache(len(self.prompt) + self.max_tokens, self.dtype, self.window)
        speculator = None
        if self.gamma is not None:
            drafter = NgramDrafter([], self.prompt)
            speculator = Speculator(Controller(StepTimes(TIMES), self.gamma), [Candidate("ngram", drafter, 0.5, 1e-4)])
        return model.run(list(self.prompt), self.sampling, self.max_tokens, sink, kv, speculator=speculator)


requests = st.builds(
    Request,
    prompt=st.lists(st.integers(0, 20), min_size=1, max_size=90).map(tuple),
    sampling=samplings,
    max_tokens=st.integers(1, 40),
    dtype=st.sampled_from(KVDtype),
    window=st.sampled_from([None, None, 64]),
    gamma=st.sampled_from([None, None, 3]),
)


def perform_in_company(running: list[Steps[Any]], order: random.Random, arrivals: list[int]) -> None:
    """As a scheduler might: sequences come in when they like, and any of those that are there share the next pass."""
    waiting: dict[int, Pass[Any]] = {}
    coming = dict(enumerate(arrivals))
    turn = 0
    while waiting or coming:
        for i in [i for i, at in coming.items() if at <= turn or not waiting]:
            del coming[i]
            waiting[i] = next(running[i])
        turn += 1
        company = order.sample(sorted(waiting), order.randint(1, len(waiting)))
        outcomes = perform_together([waiting[i] for i in company], order.choice([NEVER, AT_ONCE]))
        for i, outcome in zip(company, outcomes, strict=True):
            try:
                waiting[i] = outcome.hand_to(running[i])
            except StopIteration:
                del waiting[i]


@given(
    st.lists(st.tuples(requests, st.integers(0, 12)), min_size=2, max_size=5),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_an_answer_does_not_depend_on_its_company(
    model: LocalModel, asked: list[tuple[Request, int]], order: random.Random, threads: int
) -> None:
    wanted = [Recording(request.max_tokens) for request, _ in asked]
    for sink, (request, _) in zip(wanted, asked, strict=True):
        perform_alone(request.steps(model, sink))
    sinks = [Recording(request.max_tokens) for request, _ in asked]
    with on_threads(threads):
        running = [request.steps(model, sink) for sink, (request, _) in zip(sinks, asked, strict=True)]
        perform_in_company(running, order, [arrival for _, arrival in asked])
    for sink, alone in zip(sinks, wanted, strict=True):
        assert sink.choices == alone.choices
        assert sink.tokens


def continuation(model: LocalModel, prompt: Sequence[int], most: int = 8, temperature: float = 0.0) -> Continuation:
    chooser = Chooser(TokenBuffer(prompt, 200), SamplingParams(temperature=temperature, seed=4), model.vocab_size)
    cache = model.decoder.new_cache(200)
    model.decoder.forward(torch.tensor(prompt[:-1]), cache)
    return Continuation(model.decoder, chooser, cache, most, 60.0, c_int32(0))


def reading(model: LocalModel, count: int, kind: type[Hidden | Logits], capacity: int = 100) -> Hidden | Logits:
    return kind(model.decoder, torch.arange(count) % 200, model.decoder.new_cache(capacity))


@needs_kernels
@torch.inference_mode()
def test_continuations_get_several_tokens_alone_among_themselves_and_one_beside_other_work(native: LocalModel) -> None:
    parts = [continuation(native, [i, 5, 7], most) for i, most in enumerate((8, 5, 7))]
    assert [len(outcome.result) for outcome in perform_together(parts, NEVER)] == [5, 5, 5]
    assert [len(outcome.result) for outcome in perform_together(parts, AT_ONCE)] == [1, 1, 1]
    mixed = [parts[0], reading(native, 20, Hidden), parts[1], reading(native, 4, Logits)]
    tokens, hidden, more, logits = (outcome.result for outcome in perform_together(mixed, NEVER))
    assert (len(tokens), len(more)) == (1, 1)
    assert hidden.shape == (20, 128)
    assert torch.equal(hidden, reading(native, 20, Hidden).perform())
    assert torch.equal(logits, reading(native, 4, Logits).perform())
    assert parts[0].cache.length == len(parts[0].chooser.text) - 1


@needs_kernels
@torch.inference_mode()
def test_weights_are_read_once_for_all(native: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    passes, products = [], []
    decoder = native.decoder.native
    assert decoder is not None
    forward, multiply = decoder._library.forward, decoder._library.multiply

    def counted_forward(model: Any, ids: torch.Tensor, segments: Sequence[Any]) -> torch.Tensor:
        passes.append(len(segments))
        return forward(model, ids, segments)

    def counted_multiply(matrix: Any, x: torch.Tensor) -> torch.Tensor:
        products.append(len(x))
        return multiply(matrix, x)

    wanted = [continuation(native, [1, 5, 7]), reading(native, 20, Hidden), reading(native, 4, Logits)]
    monkeypatch.setattr(decoder._library, "forward", counted_forward)
    monkeypatch.setattr(decoder._library, "multiply", counted_multiply)
    perform_together(wanted, NEVER)
    assert (passes, products) == ([3], [5])


@needs_kernels
@pytest.mark.parametrize("beside", [True, False], ids=["beside other work", "among themselves"])
@torch.inference_mode()
def test_what_goes_wrong_with_a_sequence_is_told_to_that_one_alone(native: LocalModel, beside: bool) -> None:
    sound = [continuation(native, [1, 5, 7], 1), continuation(native, [9, 5, 7], 1, temperature=1.0)]
    nan = continuation(native, [3, 5, 7], 1, temperature=1.0)
    for layer in nan.cache.layers:
        layer.fill_(torch.nan)
    full, unknown = continuation(native, [2, 5, 7], 1), continuation(native, [2, 5, 7], 1)
    full.cache.capacity = full.cache.length
    unknown.chooser.text.append(-1)
    more: list[Pass[Any]] = [reading(native, 9, Hidden), reading(native, 9, Logits, capacity=8)] if beside else []
    outcomes = perform_together([sound[0], nan, full, unknown, sound[1], *more], NEVER)
    assert [type(outcome.error) for outcome in outcomes[:5]] == [
        type(None), NonFiniteLogitsError, ValueError, ValueError, type(None),
    ]  # fmt: skip
    for outcome, again in zip([outcomes[0], outcomes[4]], [[1, 5, 7], [9, 5, 7]], strict=True):
        alone = continuation(native, again, 1, temperature=0.0 if again[0] == 1 else 1.0).perform()
        assert [c._replace(t=0.0) for c in outcome.result] == [c._replace(t=0.0) for c in alone]
    assert [part.cache.length for part in sound] == [3, 3]
    if beside:
        assert torch.equal(outcomes[5].result, reading(native, 9, Hidden).perform())
        assert isinstance(outcomes[6].error, ValueError)


@torch.inference_mode()
def test_models_of_another_kind_take_their_turns(native: LocalModel, model: LocalModel) -> None:
    """And work that tells of no passes."""
    wanted: list[Pass[Any]] = [
        reading(model, 9, Logits),
        Whole(lambda: "whole"),
        reading(native, 9, Logits),
        reading(model, 40, Hidden),
    ]
    outcomes = perform_together(wanted, NEVER)
    assert outcomes[1].result == "whole"
    assert torch.equal(outcomes[0].result, reading(model, 9, Logits).perform())
    assert torch.equal(outcomes[2].result, reading(native, 9, Logits).perform())
    assert torch.equal(outcomes[3].result, reading(model, 40, Hidden).perform())
    assert perform_together([], NEVER) == []


REAL_PROMPTS = (
    "What is the capital of France?",
    "Write a short poem about the sea.",
    "List three uses of a brick.",
    "Explain why the sky is blue.",
    "Translate 'good morning' into German.",
    "What is 17 times 23?",
    "Continue: once upon a time",
    "Name a prime number above 100 and say why it is one.",
)


@needs_kernels
@torch.inference_mode()
def test_eight_real_prompts_together_are_answered_as_each_alone(models_dir: Path) -> None:
    pool = ModelPool(models_dir)
    opened = open_model(pool, SMALL)
    run = RunConfig(model=SMALL, optimization=OptimizationConfig.at(Precision.INT4))
    model = load_model(pool, run)
    assert isinstance(model, LocalModel)
    asked = [
        Request(
            tuple(opened.tokenizer.encode_chat([Message("user", prompt)])),
            SamplingParams(temperature=0.0 if i % 2 else 0.8, seed=i),
            24,
            KVDtype.BF16 if i % 3 else KVDtype.INT8,
            None,
            4 if i == 6 else None,
        )
        for i, prompt in enumerate(REAL_PROMPTS)
    ]
    wanted, sinks = ([Recording(24) for _ in asked] for _ in range(2))
    for request, sink in zip(asked, wanted, strict=True):
        perform_alone(request.steps(model, sink))
    running = [request.steps(model, sink) for request, sink in zip(asked, sinks, strict=True)]
    waiting = [next(steps) for steps in running]
    places = list(range(len(asked)))
    while places:
        outcomes = perform_together([waiting[i] for i in places], NEVER)
        for i, outcome in zip(list(places), outcomes, strict=True):
            try:
                waiting[i] = outcome.hand_to(running[i])
            except StopIteration:
                places.remove(i)
    assert [sink.choices for sink in sinks] == [sink.choices for sink in wanted]
    assert len({tuple(sink.tokens) for sink in sinks}) == len(asked)
