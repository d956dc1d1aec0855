"""Evaluation in the engine: windows, teacher-forced comparison, and how it shares the one thread."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import Corpus, CorpusPrompt, DivergenceStats, Engine, Window, WindowDivergence
from engine.errors import (
    ContextLengthError,
    CorpusError,
    EngineClosedError,
    InsufficientMemoryError,
    InvalidRequestError,
    NonFiniteLogitsError,
    UnknownModelError,
)
from engine.evaluation.comparison import answer_divergence, window_divergence
from engine.models.checkpoint import resolve
from engine.pool import ModelPool
from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
    TokenEvent,
)
from tests.conftest import SMALL
from tests.tiny import make_tiny_checkpoint, make_tiny_tokenizer

QUANTIZED = [precision for precision in Precision if precision is not Precision.BF16]
TEXT = "The quick brown fox jumps over the lazy dog. " * 60


@pytest.fixture(scope="module")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "tiny", "qwen2", max_position_embeddings=1024)
    return folder


@pytest.fixture(scope="module")
def tiny_engine(tiny_dir: Path) -> Iterator[Engine]:
    engine = Engine(tiny_dir)
    yield engine
    engine.close()


def asked(prompt: str, model: str, precision: Precision = Precision.BF16, **sampling: Any) -> GenerationRequest:
    config = RunConfig(model=model, optimization=OptimizationConfig.at(precision), sampling=SamplingParams(**sampling))
    return GenerationRequest(messages=(Message("user", prompt),), config=config)


def answer(engine: Engine, request: GenerationRequest) -> RunFinished:
    *_, last = engine.generate(request)
    assert isinstance(last, RunFinished), last
    return last


def window_of(engine: Engine, model: str, prompt: str = "hello") -> Window:
    (window,) = engine.windows(model, Corpus(name="one", prompts=(CorpusPrompt(prompt),)))
    return window


# --- on real weights --------------------------------------------------------------------------------


def test_fewer_bits_diverge_and_sixteen_do_not(engine: Engine, models_dir: Path) -> None:
    run = answer(engine, asked("Name three fruits.", SMALL, max_tokens=12))
    pool_ids = ModelPool(models_dir).open(SMALL).tokenizer.encode_chat([Message("user", "Name three fruits.")])
    window = Window((*pool_ids, *run.token_ids), len(pool_ids))
    same = engine.compare_window(SMALL, Precision.BF16, window)
    assert len(same) == len(run.token_ids)
    assert not same.kld.any()
    for precision in QUANTIZED:
        figures = engine.compare_window(SMALL, precision, window)
        assert figures.nll_ref == pytest.approx(same.nll_ref)
        assert 0 < figures.kld.mean() < 5
    assert {Precision.BF16, *QUANTIZED} <= {model.precision for model in engine.status().resident}


def test_an_answer_seen_by_both_models(engine: Engine) -> None:
    request = asked("What is the capital of France?", SMALL, Precision.NF4, max_tokens=24)
    run = answer(engine, request)
    seen = engine.compare_answer(request, run.token_ids)
    assert "".join(token.text for token in seen.tokens) == run.text
    assert tuple(token.token_id for token in seen.tokens) == run.token_ids
    for token in seen.tokens:
        assert token.delta_p == pytest.approx(token.q - token.p, abs=1e-5)
        assert token.flip == (token.reference_top[0].token_id != token.candidate_top[0].token_id)
        assert [c.probability for c in token.reference_top] == sorted(c.probability for c in token.reference_top)[::-1]
        assert len(token.candidate_top) == 5
        own = [c.probability for c in token.candidate_top if c.token_id == token.token_id]
        assert own == pytest.approx([token.q] * len(own), abs=1e-5)
    parted = [i for i, token in enumerate(seen.tokens) if token.reference_top[0].token_id != token.token_id]
    assert (seen.first_difference.index if seen.first_difference else None) == (parted[0] if parted else None)


def test_the_first_difference_is_where_the_sixteen_bit_answer_leaves(engine: Engine) -> None:
    question, limit = "Write a haiku about the sea.", 16
    request = asked(question, SMALL, Precision.NF4, max_tokens=limit)
    ours, theirs = answer(engine, request).token_ids, answer(engine, asked(question, SMALL, max_tokens=limit)).token_ids
    seen = engine.compare_answer(request, ours).first_difference
    parted = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    assert parted, "this prompt is here because the two answers differ"
    assert seen is not None
    assert seen.index == parted[0]
    assert (seen.candidate_choice.token_id, seen.reference_choice.token_id) == (ours[parted[0]], theirs[parted[0]])
    assert seen.reference_gap > 0
    assert seen.candidate_gap >= 0


# --- windows ----------------------------------------------------------------------------------------


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


def test_weights_have_an_identity(tiny_engine: Engine, tiny_dir: Path) -> None:
    assert tiny_engine.weights_sha256("tiny") == resolve("tiny", tiny_dir).weights_sha256


# --- comparison ---------------------------------------------------------------------------------------


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


class ScriptedReader:
    """Gives each position the logits that a table has for the token there."""

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def new_cache(self, capacity: int) -> list[int]:
        return []

    def forward(self, ids: torch.Tensor, cache: list[int]) -> torch.Tensor:
        cache.extend(ids.tolist())
        return ids[:, None].float()

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.table[hidden[:, 0].long()]


def test_each_token_is_scored_by_the_distribution_before_it() -> None:
    vocab = 6
    certain = torch.full((vocab, vocab), -20.0)
    for token_id in range(vocab):
        certain[token_id, (token_id + 1) % vocab] = 20.0  # after n comes n + 1
    reader = ScriptedReader(certain)
    figures = window_divergence(reader, reader, vocab, Window((0, 1, 2, 3, 5, 0), 2))
    assert figures.nll_ref == pytest.approx(np.array([0, 0, 40, 0]), abs=1e-5)


def test_ids_that_are_no_token_are_left_out_of_both_distributions() -> None:
    table = torch.zeros(8, 8)
    wild = table.clone()
    wild[:, 6:] = 50.0
    figures = window_divergence(ScriptedReader(table), ScriptedReader(wild), 6, Window((0, 1, 2), 1))
    assert not figures.kld.any()
    assert figures.nll_cand == pytest.approx(math.log(6))


def test_the_gap_of_the_first_difference_is_between_its_two_tokens(tiny_dir: Path) -> None:
    tokenizer = ModelPool(tiny_dir).open("tiny").tokenizer
    reference, candidate = torch.zeros(20, 20), torch.zeros(20, 20)
    reference[:, 11], candidate[:, 11] = 3.0, 3.0
    reference[11, 12], reference[11, 13] = 4.5, 6.0
    candidate[11, 12], candidate[11, 13] = 5.25, 5.0
    seen = answer_divergence(
        ScriptedReader(reference), ScriptedReader(candidate), 20, tokenizer, [10], [11, 12, 11], greedy=True
    )
    assert [token.flip for token in seen.tokens] == [False, True, False]
    parting = seen.first_difference
    assert parting is not None
    assert (parting.index, parting.candidate_choice.token_id, parting.reference_choice.token_id) == (1, 12, 13)
    assert (parting.candidate_gap, parting.reference_gap) == (0.25, 1.5)


def test_broken_weights_are_an_error_and_no_statistic() -> None:
    sound, broken = torch.zeros(8, 8), torch.zeros(8, 8)
    broken[2, 3] = math.nan
    with pytest.raises(NonFiniteLogitsError, match="candidate"):
        window_divergence(ScriptedReader(sound), ScriptedReader(broken), 8, Window((0, 1, 2, 3, 4), 1))


# --- memory and the one thread ------------------------------------------------------------------------


def test_two_models_that_do_not_fit_together_are_refused(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_dir)
    window = window_of(engine, "tiny")
    # the reserve is used up: nothing can be loaded beside what is in memory
    monkeypatch.setattr("engine.memory.available_bytes", lambda: 0)
    with pytest.raises(InsufficientMemoryError, match=r"both must be in memory at once\. Loading tiny in int4 needs"):
        engine.compare_window("tiny", Precision.INT4, window)
    assert [model.precision for model in engine.status().resident] == [Precision.BF16]
    engine.close()


def test_comparing_lets_others_go_before_its_own_two(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(tiny_dir)
    window = window_of(engine, "tiny")
    answer(engine, asked("hi", "tiny", Precision.NF4, max_tokens=1))
    # used last, so the 16-bit model is the longest unused; there is room once something has left
    free = iter([0, 0])
    monkeypatch.setattr("engine.memory.available_bytes", lambda: next(free, 10**10))
    monkeypatch.setattr("engine.pool.estimate_bytes", lambda config, precision: 1)
    engine.compare_window("tiny", Precision.INT4, window)
    assert {model.precision for model in engine.status().resident} == {Precision.BF16, Precision.INT4}
    engine.close()


def wait_for_queue(engine: Engine) -> None:
    while not engine.status().queued:
        time.sleep(0.01)


def test_evaluation_waits_its_turn_beside_generation(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.worker.BUFFERED_EVENTS", 4)  # a run that nobody reads stands still
    window = window_of(tiny_engine, "tiny")
    running = tiny_engine.generate(asked("hello", "tiny", max_tokens=40))
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
        patch.setattr("engine.evaluator.window_divergence", broken)
        with pytest.raises(ZeroDivisionError, match="made up"):
            tiny_engine.compare_window("tiny", Precision.INT4, window)
    assert len(tiny_engine.compare_window("tiny", Precision.INT4, window)) == window.scored


def test_what_loading_progress_raises_ends_the_loading(tiny_dir: Path) -> None:
    class StopHereError(Exception):
        pass

    def stop(stage: str, fraction: float) -> None:
        raise StopHereError

    engine = Engine(tiny_dir)
    with pytest.raises(StopHereError):
        engine.compare_window("tiny", Precision.INT4, Window((1, 2, 3), 1), stop)
    assert engine.status().resident == ()
    engine.close()


def test_a_closed_engine_ends_what_waits(tiny_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.worker.BUFFERED_EVENTS", 4)
    engine = Engine(tiny_dir)
    running = engine.generate(asked("hello", "tiny", max_tokens=40))
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


def test_the_inference_thread_does_not_wait_for_itself(tiny_dir: Path) -> None:
    engine = Engine(tiny_dir)

    def ask_again(stage: str, fraction: float) -> None:
        engine.weights_sha256("tiny")

    with pytest.raises(RuntimeError, match="wait for itself"):
        engine.compare_window("tiny", Precision.INT4, Window((1, 2, 3), 1), ask_again)
    engine.close()
