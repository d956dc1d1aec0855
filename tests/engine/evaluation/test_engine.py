"""Evaluation in the engine: windows, memory, and how it shares the one thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import Corpus, CorpusPrompt, DivergenceStats, Engine, Window, WindowDivergence
from engine.errors import (
    ContextLengthError,
    CorpusError,
    EngineClosedError,
    InsufficientMemoryError,
    InvalidRequestError,
    UnknownModelError,
)
from engine.models.checkpoint import resolve
from engine.types import CPU_PRECISIONS, Precision, TokenEvent
from tests.support.evaluation import answer, asked, window_of
from tests.support.tiny import make_tiny_checkpoint, make_tiny_tokenizer

QUANTIZED = [precision for precision in CPU_PRECISIONS if precision is not Precision.BF16]
ENDLESS = tuple((token_id, -100.0) for token_id in range(3))
"""Keeps the tokens that end a text, the first ones, from being chosen."""
TEXT = "The quick brown fox jumps over the lazy dog. " * 60


@pytest.fixture(scope="module")
def tiny_engine(tiny_models_dir: Path) -> Iterator[Engine]:
    engine = Engine(tiny_models_dir)
    yield engine
    engine.close()


def test_running_text_becomes_windows_of_the_models_own_tokens(tiny_engine: Engine) -> None:
    windows = tiny_engine.windows("tiny", Corpus(name="text", text=TEXT))
    ids = make_tiny_tokenizer()(TEXT)["input_ids"]
    assert len(windows) == len(ids) // 512
    assert windows[0] == Window(tuple(ids[:512]), 257)
    figures = [tiny_engine.compare_window("tiny", Precision.INT4, window) for window in windows]
    stats = DivergenceStats.from_tokens(WindowDivergence.concatenate(figures))
    assert stats.tokens == 255 * len(windows)
    assert stats.kld_mean > 0


def test_prompts_are_answered_by_the_sixteen_bit_model(tiny_engine: Engine) -> None:
    prompts = (CorpusPrompt("What is 2?"), CorpusPrompt("Say it.", "You are a fox."))
    told: list[tuple[str, float]] = []
    corpus = Corpus(name="prompts", prompts=prompts)
    windows = tiny_engine.windows("tiny", corpus, lambda stage, fraction: told.append((stage, fraction)))
    for prompt, window in zip(prompts, windows, strict=True):
        run = answer(tiny_engine, prompt.request("tiny"))
        assert window.token_ids[window.first_scored :] == run.token_ids
        assert window.first_scored == run.metrics.prompt_tokens
    assert [fraction for _, fraction in told] == [0.0, 0.5, 1.0]
    # greedy: the reference holds each token of its own answer for the likeliest
    window = windows[0]
    figures = tiny_engine.compare_window("tiny", Precision.BF16, window)
    assert figures.nll_ref.max() <= math.log(384)


def test_what_progress_raises_ends_the_answering(tiny_engine: Engine) -> None:
    class StopHereError(Exception):
        pass

    told: list[float] = []

    def stop(stage: str, fraction: float) -> None:
        told.append(fraction)
        if fraction:
            raise StopHereError

    corpus = Corpus(name="prompts", prompts=(CorpusPrompt("a"), CorpusPrompt("b"), CorpusPrompt("c")))
    with pytest.raises(StopHereError):
        tiny_engine.windows("tiny", corpus, stop)
    assert told == pytest.approx([0, 1 / 3])


def test_a_corpus_that_does_not_suit_is_refused(tiny_engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="too short"):
        tiny_engine.windows("tiny", Corpus(name="short", text="hello there"))
    with pytest.raises(ContextLengthError):
        tiny_engine.windows("tiny", Corpus(name="long", prompts=(CorpusPrompt("word " * 2000),)))
    narrow = make_tiny_checkpoint(tmp_path / "narrow", "llama", max_position_embeddings=256)
    with pytest.raises(InvalidRequestError, match="at most 256 tokens"):
        tiny_engine.windows(str(narrow), Corpus(name="text", text=TEXT))
    with pytest.raises(UnknownModelError):
        tiny_engine.windows("no-such-model", Corpus(name="text", text=TEXT))


def test_weights_have_an_identity(tiny_engine: Engine, tiny_models_dir: Path) -> None:
    assert tiny_engine.weights_sha256("tiny") == resolve("tiny", tiny_models_dir).weights_sha256


def test_no_first_difference_without_a_greedy_answer(tiny_engine: Engine) -> None:
    greedy = asked("hello", "tiny", Precision.NF4, max_tokens=40)
    ids = answer(tiny_engine, greedy).token_ids
    assert tiny_engine.compare_answer(greedy, ids).first_difference is not None
    sampled = asked("hello", "tiny", Precision.NF4, max_tokens=40, temperature=1.0)
    penalized = asked("hello", "tiny", Precision.NF4, max_tokens=40, repetition_penalty=1.3)
    assert tiny_engine.compare_answer(sampled, ids).first_difference is None
    assert tiny_engine.compare_answer(penalized, ids).first_difference is None


@pytest.mark.parametrize(
    ("token_ids", "says"), [((), "no tokens"), ((1, 2, 350), "another one"), ((5,) * 1100, "reads at most 1,024")]
)
def test_tokens_that_cannot_be_compared_are_refused(tiny_engine: Engine, token_ids: tuple[int, ...], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        tiny_engine.compare_answer(asked("hello", "tiny"), token_ids)


def test_two_models_that_do_not_fit_together_are_refused(
    tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(tiny_models_dir)
    window = window_of(engine, "tiny")
    # the reserve is used up: nothing can be loaded beside what is in memory
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: 0)
    with pytest.raises(InsufficientMemoryError, match=r"both must be in memory at once\. Loading tiny in int4 needs"):
        engine.compare_window("tiny", Precision.INT4, window)
    assert [model.precision for model in engine.status().resident] == [Precision.BF16]
    engine.close()


def test_comparing_lets_others_go_before_its_own_two(tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_models_dir)
    window = window_of(engine, "tiny")
    answer(engine, asked("hi", "tiny", Precision.NF4, max_tokens=1))
    # used last, so the 16-bit model is the longest unused; there is room once something has left
    free = iter([0, 0])
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: next(free, 10**10))
    monkeypatch.setattr("engine.backends.local.estimate_bytes", lambda config, precision, device: 1)
    engine.compare_window("tiny", Precision.INT4, window)
    assert {model.precision for model in engine.status().resident} == {Precision.BF16, Precision.INT4}
    engine.close()


def wait_for_queue(engine: Engine) -> None:
    while not engine.status().queued:
        time.sleep(0.01)


def test_evaluation_waits_for_a_run_that_has_the_engine_alone(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.serving.scheduling.jobs.BUFFERED_EVENTS", 4)  # a run that nobody reads stands still
    window = window_of(tiny_engine, "tiny")
    running = tiny_engine.generate(replace(asked("hello", "tiny", max_tokens=600, logit_bias=ENDLESS), exclusive=True))
    next(event for event in running if isinstance(event, TokenEvent))
    results: list[WindowDivergence] = []
    caller = threading.Thread(target=lambda: results.append(tiny_engine.compare_window("tiny", Precision.INT4, window)))
    caller.start()
    wait_for_queue(tiny_engine)
    assert not results
    running.close()
    caller.join(60)
    assert len(results) == 1


def test_what_a_unit_raises_comes_out_and_the_next_one_works(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = window_of(tiny_engine, "tiny")

    def broken(*args: object) -> None:
        raise ZeroDivisionError("made up")

    with monkeypatch.context() as patch:
        patch.setattr("engine.serving.evaluator.window_divergence", broken)
        with pytest.raises(ZeroDivisionError, match="made up"):
            tiny_engine.compare_window("tiny", Precision.INT4, window)
    assert len(tiny_engine.compare_window("tiny", Precision.INT4, window)) == window.scored


def test_what_loading_progress_raises_ends_the_loading(tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopHereError(Exception):
        pass

    def stop(stage: str, fraction: float) -> None:
        raise StopHereError

    # so small a model is there before anything is told of it
    monkeypatch.setattr("engine.serving.memory.loading.stand_behind_engine_threads", lambda: time.sleep(0.3))
    engine = Engine(tiny_models_dir)
    with pytest.raises(StopHereError):
        engine.compare_window("tiny", Precision.INT4, Window((1, 2, 3), 1), stop)
    assert engine.status().resident == ()
    engine.close()


def test_evaluation_is_not_held_up_by_a_run_that_nobody_reads(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.serving.scheduling.jobs.BUFFERED_EVENTS", 4)
    window = window_of(tiny_engine, "tiny")
    running = tiny_engine.generate(asked("hello", "tiny", max_tokens=600, logit_bias=ENDLESS))
    next(event for event in running if isinstance(event, TokenEvent))
    assert len(tiny_engine.compare_window("tiny", Precision.INT4, window))
    running.close()


def test_a_closed_engine_ends_what_waits(tiny_models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.serving.scheduling.jobs.BUFFERED_EVENTS", 4)
    engine = Engine(tiny_models_dir)
    running = engine.generate(replace(asked("hello", "tiny", max_tokens=600, logit_bias=ENDLESS), exclusive=True))
    next(event for event in running if isinstance(event, TokenEvent))
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            engine.weights_sha256("tiny")
        except EngineClosedError as error:
            errors.append(error)

    caller = threading.Thread(target=wait)
    caller.start()
    wait_for_queue(engine)
    engine.close()
    caller.join(60)
    assert len(errors) == 1
    with pytest.raises(EngineClosedError):
        engine.weights_sha256("tiny")


def test_the_inference_thread_does_not_wait_for_itself(tiny_models_dir: Path) -> None:
    engine = Engine(tiny_models_dir)

    def ask_again(stage: str, fraction: float) -> None:
        engine.weights_sha256("tiny")

    with pytest.raises(RuntimeError, match="wait for itself"):
        engine.compare_window("tiny", Precision.INT4, Window((1, 2, 3), 1), ask_again)
    engine.close()
