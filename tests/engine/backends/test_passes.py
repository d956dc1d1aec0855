"""Sequences that ask for passes: what they write does not depend on who performs them, nor in which pieces."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.backends.local import LocalModel
from engine.generation.choosing import Chooser
from engine.generation.token_buffer import TokenBuffer
from engine.passes import Continuation, Pass, Steps, ask, perform_alone
from engine.types import CPU_PRECISIONS, KVDtype, SamplingParams
from tests.engine.native.test_kernels import needs_kernels
from tests.engine.speculation.test_speculation import PROMPT, Sink, load
from tests.support.tiny import make_tiny_checkpoint

SAMPLED = SamplingParams(temperature=0.9, top_p=0.95, repetition_penalty=1.1, seed=3)


@pytest.fixture(scope="module", params=CPU_PRECISIONS, ids=str)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), "qwen3", hidden_size=128, intermediate_size=256)
    return load(folder, request.param)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> LocalModel:
    """One whose kernels write."""
    folder: Path = make_tiny_checkpoint(tmp_path_factory.mktemp("n"), "llama", hidden_size=128, intermediate_size=256)
    loaded = load(folder, CPU_PRECISIONS[-1])
    assert loaded.decoder.native
    return loaded


def steps_of(model: LocalModel, sink: Sink, sampling: SamplingParams, **form: object) -> Steps[object]:
    window = form.get("window")
    dtype = form.get("dtype", KVDtype.BF16)
    assert isinstance(dtype, KVDtype)
    assert window is None or isinstance(window, int)
    kv = model.decoder.new_cache(len(PROMPT) + sink.max_tokens, dtype, window)
    return model.run(PROMPT, sampling, sink.max_tokens, sink, kv)


def perform_in_pieces(steps: Steps[object], pieces: list[int]) -> None:
    """As a scheduler might: never more tokens at once than it likes."""
    answer: object = None
    taken = 0
    try:
        while True:
            wanted: Pass[object] = steps.send(answer)
            if isinstance(wanted, Continuation):
                wanted = replace(wanted, most=min(wanted.most, pieces[taken % len(pieces)]))
                taken += 1
            answer = wanted.perform()
    except StopIteration:
        return


@given(
    pieces=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    sampling=st.sampled_from([SamplingParams(), SamplingParams(repetition_penalty=1.3), SAMPLED]),
    form=st.sampled_from([{}, {"dtype": KVDtype.INT8}, {"window": 64}]),
    max_tokens=st.integers(1, 80),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.inference_mode()
def test_an_answer_is_the_same_in_whatever_pieces_it_is_written(
    model: LocalModel, pieces: list[int], sampling: SamplingParams, form: dict[str, object], max_tokens: int
) -> None:
    whole, cut = Sink(max_tokens), Sink(max_tokens)
    perform_alone(steps_of(model, whole, sampling, **form))
    perform_in_pieces(steps_of(model, cut, sampling, **form), pieces)
    assert cut.tokens == whole.tokens
    assert len(whole.tokens) <= max_tokens


@needs_kernels
@pytest.mark.parametrize("sampling", [SamplingParams(), SAMPLED], ids=["greedy", "sampled"])
@torch.inference_mode()
def test_the_kernels_write_what_one_step_after_the_other_would(native: LocalModel, sampling: SamplingParams) -> None:
    sink = Sink(60)
    perform_alone(steps_of(native, sink, sampling))
    text = TokenBuffer(PROMPT, len(PROMPT) + 60)
    chooser = Chooser(text, sampling, native.vocab_size)
    chooser._native = None
    cache = native.decoder.new_cache(len(PROMPT) + 60)
    logits = native.decoder.prefill(text.ids, cache, lambda: False)
    assert logits is not None
    for _ in range(60):
        chooser.choose(logits)
        logits = native.decoder.step(text.last, cache)
    assert sink.tokens == text.since(len(PROMPT))


@torch.inference_mode()
def test_sequences_that_take_turns_write_what_each_writes_alone(model: LocalModel) -> None:
    asked = [SamplingParams(), SAMPLED, replace(SAMPLED, seed=8)]
    wanted = [Sink(30) for _ in asked]
    for sink, sampling in zip(wanted, asked, strict=True):
        perform_alone(steps_of(model, sink, sampling))
    sinks = [Sink(30) for _ in asked]
    running = [steps_of(model, sink, sampling) for sink, sampling in zip(sinks, asked, strict=True)]
    waiting = [(steps, next(steps)) for steps in running]
    while waiting:
        steps, asked_for = waiting.pop(0)
        if isinstance(asked_for, Continuation):
            asked_for = replace(asked_for, most=2)
        with suppress(StopIteration):
            waiting.append((steps, steps.send(asked_for.perform())))
    assert [sink.tokens for sink in sinks] == [sink.tokens for sink in wanted]
    assert wanted[1].tokens != wanted[2].tokens


@needs_kernels
@torch.inference_mode()
def test_an_interrupt_ends_a_continuation_after_a_token(native: LocalModel) -> None:
    sink = Sink(60)
    sink.interrupt.value = 1
    given_up = []
    sink.told = given_up.append
    steps = steps_of(native, sink, SamplingParams())
    answer: object = None
    at_once = []
    try:
        while True:
            wanted = steps.send(answer)
            answer = wanted.perform()
            at_once += [len(answer)] if isinstance(answer, list) else []
    except StopIteration:
        assert at_once == [1] * 59


@dataclass
class Broken:
    """Work that fails."""

    def perform(self) -> None:
        raise ZeroDivisionError


def test_what_a_pass_raises_is_raised_where_it_was_asked_for() -> None:
    cleaned = []

    def steps() -> Steps[str]:
        try:
            yield from ask(Broken())
        except ZeroDivisionError:
            cleaned.append("up")
            return "gone on"
        return "never"

    assert perform_alone(steps()) == "gone on"
    assert cleaned == ["up"]

    def careless() -> Steps[None]:
        yield from ask(Broken())

    with pytest.raises(ZeroDivisionError):
        perform_alone(careless())
