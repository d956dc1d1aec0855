"""The engine on real weights: its answers, its events, and how it ends."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from transformers import AutoConfig

from engine import Engine
from engine.models.decoders.decoder import DecoderConfig
from engine.models.decoders.weights import estimate_bytes
from engine.types import (
    CPU_PRECISIONS,
    Backend,
    Event,
    GenerationRequest,
    Heartbeat,
    Loading,
    Message,
    OptimizationConfig,
    Precision,
    PrefillDone,
    Queued,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    Started,
    TokenEvent,
)
from tests.conftest import SMALL
from tests.support.near_ties import NearTies
from tests.support.tiny import make_tiny_checkpoint
from tests.support.tokenizers_of_all_kinds import open_tokenizer

BACKENDS = [Backend.LOCAL, pytest.param(Backend.REFERENCE, marks=pytest.mark.slow)]
PROMPTS = [
    "What is the capital of France?",
    "Explain in two sentences why the sky is blue.",
    "Write a Python function that reverses a string.",
    "List five fruits, one on each line.",
    "Translate to Spanish: Good morning, my friend.",
    "What is 17 + 25?",
    "Write a haiku about the sea.",
    "Summarise: The meeting moved from Monday to Tuesday because the room was taken.",
    "Extract the date from: 'Your parcel arrives on 3 May 2024.'",
    "Who wrote Romeo and Juliet?",
    "Give me a recipe for pancakes.",
    "What does HTTP 404 mean?",
    "Continue: Once upon a time, in a village by the river,",
    "Rewrite politely: Send me the file now.",
    "Name three planets and one fact about each.",
    "Is water wet? Answer in one sentence.",
    "Convert 100 degrees Fahrenheit to Celsius.",
    '{"name": "Ada", "age": 36} - what is the age?',
    "Wie heißt die Hauptstadt von Österreich?",
    "Write an SQL query that counts the rows of the table users.",
    "Tell me a joke about computers.",
    "Explain what a hash table is to a child.",
]


def request_for(
    prompt: str,
    *,
    model: str = SMALL,
    backend: Backend = Backend.LOCAL,
    precision: Precision = Precision.BF16,
    **sampling: object,
) -> GenerationRequest:
    config = RunConfig(
        model=model,
        backend=backend,
        optimization=OptimizationConfig.at(precision),
        sampling=SamplingParams(**sampling),  # type: ignore[arg-type]
    )
    return GenerationRequest(messages=(Message("user", prompt),), config=config)


def finish(engine: Engine, request: GenerationRequest) -> RunFinished:
    last = list(engine.generate(request))[-1]
    assert isinstance(last, RunFinished), last
    return last


def failure(engine: Engine, request: GenerationRequest) -> RunFailed:
    last = list(engine.generate(request))[-1]
    assert isinstance(last, RunFailed), last
    return last


@pytest.mark.parametrize(
    "prompts", [pytest.param(PROMPTS[:3], id="some"), pytest.param(PROMPTS, id="all", marks=pytest.mark.slow)]
)
def test_greedy_tokens_equal_transformers(
    engine: Engine, models_dir: Path, record_property: Callable[[str, object], None], prompts: list[str]
) -> None:
    """64 tokens on each prompt; a difference must be a near-tie."""
    near_ties, exact = 0, NearTies(models_dir)
    for prompt in prompts:
        ours = finish(engine, request_for(prompt, max_tokens=64)).token_ids
        theirs = finish(engine, request_for(prompt, max_tokens=64, backend=Backend.REFERENCE)).token_ids
        if ours == theirs:
            continue
        exact.check([Message("user", prompt)], ours, theirs)
        near_ties += 1
    record_property("near-ties", f"{near_ties} of {len(prompts)} answers")


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
def test_events_tell_one_story(engine: Engine, precision: Precision) -> None:
    events = list(engine.generate(request_for("Count to ten.", precision=precision, max_tokens=24)))
    told = [e for e in events if not isinstance(e, Heartbeat | Loading | Queued)]
    tokens = [e for e in told if isinstance(e, TokenEvent)]
    assert [type(e) for e in told] == [Started, PrefillDone, *[TokenEvent] * len(tokens), RunFinished]
    started, prefilled, finished = told[0], told[1], told[-1]
    assert isinstance(started, Started)
    assert isinstance(prefilled, PrefillDone)
    assert isinstance(finished, RunFinished)
    metrics = finished.metrics
    assert finished.text == "".join(e.text for e in tokens)
    assert finished.token_ids == tuple(e.token_id for e in tokens)
    assert prefilled.computed_tokens == started.prompt_tokens == metrics.prompt_tokens
    assert metrics.completion_tokens == len(tokens)
    assert metrics.ttft_s == tokens[0].t
    assert metrics.e2e_s == tokens[-1].t
    assert metrics.tpot_s == pytest.approx((metrics.e2e_s - metrics.ttft_s) / (len(tokens) - 1))
    assert 0 < metrics.prefill_s < metrics.ttft_s
    assert all(a.t < b.t for a, b in pairwise(tokens))
    assert all(e.logprob <= 0 <= e.entropy for e in tokens)
    # the last token is never fed back, so it has no KV
    assert metrics.kv_bytes == 23_040 * (metrics.prompt_tokens + metrics.completion_tokens - 1)
    assert metrics.peak_rss_bytes > metrics.weights_bytes > 5e7


def test_fewer_bits_take_less_memory(engine: Engine) -> None:
    weights = {
        precision: finish(engine, request_for("Hi", precision=precision, max_tokens=2)).metrics.weights_bytes
        for precision in CPU_PRECISIONS
    }
    reference = finish(engine, request_for("Hi", backend=Backend.REFERENCE, max_tokens=2)).metrics
    assert weights[Precision.BF16] == pytest.approx(reference.weights_bytes, rel=0.01)  # ours begin at a large page
    assert weights[Precision.INT4] < 0.4 * weights[Precision.BF16]
    assert weights[Precision.NF4] < weights[Precision.INT4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_repeats_and_another_does_not(engine: Engine, backend: Backend) -> None:
    def sample(seed: int) -> tuple[int, ...]:
        request = request_for("Write a story.", backend=backend, temperature=1.2, seed=seed, max_tokens=16)
        return finish(engine, request).token_ids

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_string_ends_the_answer_before_it(engine: Engine, backend: Backend) -> None:
    plain = finish(engine, request_for("Count from one to ten in digits.", backend=backend, max_tokens=60)).text
    stop = plain[len(plain) // 2 :][:3]
    stopped = finish(
        engine, request_for("Count from one to ten in digits.", backend=backend, max_tokens=60, stop=(stop,))
    )
    assert stopped.text == plain[: plain.index(stop)]
    assert stopped.finish_reason == "stop"


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_tokens_is_respected(engine: Engine, backend: Backend) -> None:
    run = finish(engine, request_for("Tell me a long story.", backend=backend, max_tokens=5))
    assert len(run.token_ids) == 5
    assert run.finish_reason == "length"


def test_one_token_has_no_tpot(engine: Engine) -> None:
    metrics = finish(engine, request_for("Tell me a story.", max_tokens=1)).metrics
    assert metrics.tpot_s is None
    assert metrics.tokens_per_second is None
    assert metrics.ttft_s == metrics.e2e_s


def test_repetition_penalty_changes_the_answer(engine: Engine) -> None:
    request = request_for("Tell me a long story.", max_tokens=40)
    penalized = request_for("Tell me a long story.", max_tokens=40, repetition_penalty=1.8)
    free, kept = finish(engine, request).token_ids, finish(engine, penalized).token_ids
    assert len(set(kept)) / len(kept) > len(set(free)) / len(free)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_ends_within_a_token_and_keeps_the_text(engine: Engine, backend: Backend) -> None:
    generation = engine.generate(request_for("Tell me a very long story.", backend=backend, max_tokens=400))
    events: list[Event] = []
    for event in generation:
        events.append(event)
        if sum(isinstance(e, TokenEvent) for e in events) == 5:
            generation.cancel()
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert finished.finish_reason == "abort"
    tokens = [e for e in events if isinstance(e, TokenEvent)]
    assert 5 <= len(tokens) < 100
    assert finished.text == "".join(e.text for e in tokens)


def wait_until_idle(engine: Engine) -> None:
    deadline = time.monotonic() + 20
    while engine.status().running or engine.status().queued:
        assert time.monotonic() < deadline, "the engine was not freed"
        time.sleep(0.02)


def test_closing_frees_the_engine(engine: Engine) -> None:
    generation = engine.generate(request_for("Tell me a very long story.", max_tokens=2000))
    next(e for e in generation if isinstance(e, TokenEvent))
    generation.close()
    assert list(generation) == []
    wait_until_idle(engine)


def test_a_lost_handle_frees_the_engine(engine: Engine) -> None:
    generation = engine.generate(request_for("Tell me a very long story.", max_tokens=2000))
    next(e for e in generation if isinstance(e, TokenEvent))
    del generation
    gc.collect()
    wait_until_idle(engine)


def test_a_reader_that_stops_reading_cannot_hold_the_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.serving.scheduling.jobs.BUFFERED_EVENTS", 4)
    monkeypatch.setattr("engine.serving.scheduling.running.ABANDONED_AFTER_S", 0.5)
    generation = engine.generate(request_for("Tell me a very long story.", max_tokens=2000))
    wait_until_idle(engine)
    finished = list(generation)[-1]
    assert isinstance(finished, RunFinished)
    assert finished.finish_reason == "abort"


def test_waiting_requests_know_their_place_and_get_their_own_answer(engine: Engine) -> None:
    cities = ("France", "Italy")
    france, italy = (finish(engine, request_for(f"What is the capital of {c}?", max_tokens=12)) for c in cities)
    assert france.token_ids != italy.token_ids
    wait_until_idle(engine)
    first = engine.generate(replace(request_for("Tell me a long story.", max_tokens=60), exclusive=True))
    second = engine.generate(request_for("What is the capital of France?", max_tokens=12))
    third = engine.generate(request_for("What is the capital of Italy?", max_tokens=12))
    for generation in (first, second, third):
        last = None
        positions = []
        for event in generation:
            positions += [event.position] if isinstance(event, Queued) else []
            last = event
        assert isinstance(last, RunFinished)
        if generation is first:
            assert positions == []
        elif generation is second:
            assert positions[0] == 1
            assert last.token_ids == france.token_ids
        else:
            assert positions[0] == 2
            assert positions == sorted(positions, reverse=True)
            assert last.token_ids == italy.token_ids
            assert last.metrics.queue_s > 0


def test_cancelling_while_waiting_answers_at_once(engine: Engine) -> None:
    running = engine.generate(replace(request_for("Tell me a long story.", max_tokens=2000), exclusive=True))
    next(e for e in running if isinstance(e, TokenEvent))
    waiting = engine.generate(request_for("What is the capital of France?"))
    waiting.cancel()
    last = list(waiting)[-1]
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"
    assert last.metrics is None
    assert engine.status().running
    running.close()
    wait_until_idle(engine)


def test_a_prompt_longer_than_the_context_says_by_how_much(engine: Engine, models_dir: Path) -> None:
    prompt = "hello " * 8300
    tokens = len(open_tokenizer(models_dir / SMALL).encode_chat([Message("user", prompt)]))
    failed = failure(engine, request_for(prompt))
    assert failed.kind == "ContextLengthError"
    assert f"{tokens + 1 - 8192:,} tokens too long" in failed.error


def test_an_answer_ends_where_the_context_does(engine: Engine, tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "tiny", "qwen2", max_position_embeddings=64)
    run = finish(engine, request_for("hello", model=str(folder), max_tokens=500))
    assert run.finish_reason in ("length", "stop")
    assert run.metrics.prompt_tokens + run.metrics.completion_tokens <= 64


def test_an_unknown_model_lists_what_there_is(engine: Engine) -> None:
    failed = failure(engine, request_for("hi", model="gpt-17"))
    assert failed.kind == "UnknownModelError"
    assert SMALL in failed.error


def test_too_little_memory_is_refused_with_the_figure(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: 600 * 10**6)
    engine = Engine(models_dir)
    failed = failure(engine, request_for("hi"))
    engine.close()
    assert failed.kind == "InsufficientMemoryError"
    assert "0.25 GiB" in failed.error


def test_unused_models_make_room_for_new_ones(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(models_dir)
    finish(engine, request_for("hi", precision=Precision.INT4, max_tokens=1))
    free = iter([720 * 10**6] * 2)
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: next(free, 10**10))
    finish(engine, request_for("hi", precision=Precision.BF16, max_tokens=1))
    assert [model.precision for model in engine.status().resident] == [Precision.BF16]
    engine.close()


def test_models_hold_no_more_together_than_their_budget(models_dir: Path) -> None:
    engine = Engine(models_dir, model_memory_bytes=200 * 2**20)
    for precision in (Precision.INT4, Precision.NF4, Precision.INT4, Precision.INT8):
        finish(engine, request_for("hi", precision=precision, max_tokens=1))
    assert [model.precision for model in engine.status().resident] == [Precision.INT8]
    finish(engine, request_for("hi", precision=Precision.BF16, max_tokens=1))  # more than the budget, alone
    assert [model.precision for model in engine.status().resident] == [Precision.BF16]
    engine.close()


@pytest.mark.parametrize("precision", CPU_PRECISIONS)
def test_the_estimate_before_loading_is_close(engine: Engine, models_dir: Path, precision: Precision) -> None:
    run = finish(engine, request_for("hi", precision=precision, max_tokens=1))
    config = DecoderConfig.from_hf(AutoConfig.from_pretrained(models_dir / SMALL))
    assert estimate_bytes(config, precision) == pytest.approx(run.metrics.weights_bytes, rel=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_altered_weights_file_is_named_with_both_hashes(tmp_path: Path, models_dir: Path, backend: Backend) -> None:
    shutil.copytree(models_dir / SMALL, tmp_path / SMALL)
    weights = tmp_path / SMALL / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(10**6)
        byte = file.read(1)
        file.seek(10**6)
        file.write(bytes([byte[0] ^ 1]))
    engine = Engine(tmp_path)
    failed = failure(engine, request_for("hi", backend=backend))
    engine.close()
    assert failed.kind == "WeightsIntegrityError"
    assert str(weights) in failed.error
    assert failed.error.count("sha256") == 2
    assert "reinstall" in failed.error.lower()


def test_damaged_packed_weights_are_packed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_tiny_checkpoint(tmp_path / "tiny", "llama")
    request = request_for("hello", model="tiny", precision=Precision.INT4, max_tokens=8)

    def answer() -> tuple[int, ...]:
        engine = Engine(tmp_path)
        try:
            return finish(engine, request).token_ids
        finally:
            engine.close()

    first = answer()
    (packed,) = (tmp_path / ".packed").rglob("*.safetensors")
    data = bytearray(packed.read_bytes())
    data[-100] ^= 0xFF
    packed.write_bytes(data)
    assert answer() == first
    assert "packing again" in caplog.text
    packed.write_bytes(data[: len(data) // 2])
    assert answer() == first
    assert folder.exists()


def test_a_full_disk_costs_only_the_packed_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    make_tiny_checkpoint(tmp_path / "tiny", "llama")
    monkeypatch.setattr("engine.models.decoders.weights.save_file", full)
    engine = Engine(tmp_path)
    run = finish(engine, request_for("hello", model="tiny", precision=Precision.INT4, max_tokens=4))
    engine.close()
    assert run.metrics.completion_tokens > 0
    assert not list(tmp_path.rglob("*.part"))


def test_a_shape_that_a_precision_cannot_hold_stays_in_sixteen_bits_and_is_named(
    engine: Engine, tmp_path: Path
) -> None:
    folder = make_tiny_checkpoint(tmp_path / "odd", "llama", intermediate_size=40)
    run = finish(engine, request_for("hi", model=str(folder), precision=Precision.INT4, max_tokens=2))
    assert run.environment["fallbacks"] == ["layers.0.down", "layers.1.down"]


def test_a_defect_in_one_run_does_not_end_the_next(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("made up")

    with monkeypatch.context() as patch:
        patch.setattr("engine.models.decoders.native_decoder.NativeDecoder.write_many", broken)
        failed = failure(engine, request_for("hi"))
    assert failed.kind == "ZeroDivisionError"
    assert finish(engine, request_for("hi", max_tokens=2)).metrics.completion_tokens == 2


def test_a_closed_engine_takes_no_requests(models_dir: Path) -> None:
    from engine.errors import EngineClosedError

    engine = Engine(models_dir)
    engine.close()
    with pytest.raises(EngineClosedError):
        engine.generate(request_for("hi"))


def test_stopping_while_a_model_loads_frees_the_engine(models_dir: Path) -> None:
    engine = Engine(models_dir)
    generation = engine.generate(request_for("hi"))
    next(event for event in generation if isinstance(event, Loading))
    generation.cancel()
    *_, last = generation
    engine.close()
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"


def test_what_can_never_fit_costs_nobody_a_model(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(models_dir)
    finish(engine, request_for("hi", precision=Precision.INT4, max_tokens=1))
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: 600 * 10**6)
    failed = failure(engine, request_for("hi", precision=Precision.BF16))
    assert failed.kind == "InsufficientMemoryError"
    assert [model.precision for model in engine.status().resident] == [Precision.INT4]
    engine.close()
