"""What the labs measure beside answers in the making: both are what they are alone, and neither waits for the other."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Engine, Generation, Window, WindowDivergence
from engine.evaluation import comparison
from engine.models.decoders import decoder
from engine.serving.scheduling.jobs import GenerationJob
from engine.speculation import losslessness
from engine.types import Event, GenerationRequest, Precision, RunFinished
from tests.support.evaluation import answer, asked
from tests.support.tiny import make_tiny_checkpoint

ENDLESS = tuple((token_id, -100.0) for token_id in range(3))
"""Keeps the tokens that end a text, the first ones, from being chosen."""
LAYERS = 16
LIMIT_S = 120
"""A guard against hanging, far above what anything here takes."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder: Path = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "one", "qwen3", seed=1, max_position_embeddings=1024)
    make_tiny_checkpoint(folder / "deep", "qwen3", max_position_embeddings=1024, num_hidden_layers=LAYERS)
    engine = Engine(folder, threads=1)
    yield engine
    engine.close()


def window(seed: int, tokens: int = 513) -> Window:
    rng = random.Random(seed)
    return Window(tuple(rng.randrange(3, 300) for _ in range(tokens)), 2)


def request(
    precision: Precision, prompt: str = "the quick brown fox", *, model: str = "one", max_tokens: int = 8, **of: Any
) -> GenerationRequest:
    return asked(prompt, model, precision, max_tokens=max_tokens, logit_bias=ENDLESS, **of)


def assert_same(alone: WindowDivergence, beside: WindowDivergence) -> None:
    for field in fields(alone):
        assert np.array_equal(getattr(alone, field.name), getattr(beside, field.name)), field.name


class Log:
    """What happens in the engine's thread, one after the other; a request comes with the first look at a unit."""

    def __init__(self, engine: Engine, patch: pytest.MonkeyPatch, coming: GenerationRequest) -> None:
        self.entries: list[str] = []
        self.generation: Generation | None = None
        self._engine = engine
        self._coming = coming
        emit = GenerationJob.emit

        def emit_and_note(job: GenerationJob, events: Sequence[Event]) -> None:
            self.entries += ["answered" for event in events if isinstance(event, RunFinished)]
            emit(job, events)

        patch.setattr(GenerationJob, "emit", emit_and_note)

    def look(self) -> None:
        if self.generation is None:
            self.generation = self._engine.generate(self._coming)
        self.entries.append("looked")

    def answer(self) -> RunFinished:
        assert self.generation is not None
        *_, last = self.generation
        assert isinstance(last, RunFinished), last
        return last


@pytest.mark.parametrize("precision", [Precision.INT4, Precision.BF16], ids=str)
def test_a_request_that_comes_while_a_window_is_compared_is_answered_before_it_ends(
    engine: Engine, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming = request(precision)
    alone, figures = answer(engine, coming).token_ids, engine.compare_window("one", precision, window(1))
    log = Log(engine, monkeypatch, coming)
    divergence = comparison.token_divergence

    def noted(*rows: Any) -> WindowDivergence:
        log.look()
        return divergence(*rows)

    monkeypatch.setattr(comparison, "token_divergence", noted)
    beside = engine.compare_window("one", precision, window(1))
    assert log.answer().token_ids == alone
    assert_same(figures, beside)
    # a pass of each in turn: a prompt and eight tokens are done long before 512 rows, sixteen at a time
    assert log.entries.count("looked") == 32
    assert log.entries.index("answered") < len(log.entries) - 8


def test_a_request_that_comes_while_a_window_is_read_is_answered_before_it_ends(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where torch reads prompts in 16 bits, it reads 512 rows at a time, and lets others go on after every layer."""
    monkeypatch.setattr("engine.quantization.bf16.processor_features", lambda: frozenset({"amx_bf16"}))
    coming = request(Precision.INT4, max_tokens=1, model="deep")
    alone = answer(engine, coming).token_ids
    engine.compare_window("deep", Precision.INT4, window(1))
    log, rotate = Log(engine, monkeypatch, coming), decoder._rotate

    def noted(*of: Any) -> Any:
        log.look()
        return rotate(*of)

    monkeypatch.setattr(decoder, "_rotate", noted)
    engine.compare_window("deep", Precision.INT4, window(1))
    assert log.answer().token_ids == alone
    assert log.entries.count("looked") == LAYERS
    assert log.entries.index("answered") < LAYERS // 2


def test_a_request_that_comes_while_an_answer_is_checked_is_answered_before_that_ends(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = asked("over the lazy dog", "one", Precision.INT4, max_tokens=200, logit_bias=ENDLESS)
    ids, coming = answer(engine, checked).token_ids, request(Precision.INT4)
    alone, found = answer(engine, coming).token_ids, engine.check_losslessness(checked, ids)
    log, choose = Log(engine, monkeypatch, coming), losslessness._choose

    def noted(*of: Any) -> int:
        log.look()
        return choose(*of)

    monkeypatch.setattr(losslessness, "_choose", noted)
    assert engine.check_losslessness(checked, ids) == found
    assert found.holds
    assert log.answer().token_ids == alone
    assert log.entries.count("looked") == 200
    assert log.entries.index("answered") < 100


@pytest.mark.parametrize("seed", range(3))
def test_units_and_answers_together_are_what_each_is_alone(engine: Engine, seed: int) -> None:
    rng = random.Random(seed)
    precisions = [Precision.INT4, Precision.INT8, Precision.NF4, Precision.BF16]
    requests = [
        request(rng.choice(precisions), " ".join(["fox"] * rng.randrange(1, 60)), temperature=rng.choice((0.0, 0.9)))
        for _ in range(6)
    ]
    units = [(rng.choice(precisions), window(rng.randrange(100), rng.randrange(20, 300))) for _ in range(4)]
    answers = [answer(engine, each).token_ids for each in requests]
    figures = [engine.compare_window("one", *unit) for unit in units]
    seen = [engine.compare_answer(each, ids) for each, ids in zip(requests, answers, strict=True)]
    found: dict[tuple[str, int], Any] = {}

    def do(kind: str, place: int) -> None:
        if kind == "answer":
            found[kind, place] = answer(engine, requests[place]).token_ids
        elif kind == "window":
            found[kind, place] = engine.compare_window("one", *units[place])
        else:
            found[kind, place] = engine.compare_answer(requests[place], answers[place])

    threads = [threading.Thread(target=do, args=("answer", place)) for place in range(len(requests))]
    threads += [threading.Thread(target=do, args=("window", place)) for place in range(len(units))]
    threads += [threading.Thread(target=do, args=("seen", place)) for place in range(len(requests))]
    rng.shuffle(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert [found["answer", place] for place in range(len(requests))] == answers
    assert [found["seen", place] for place in range(len(requests))] == seen
    for place, alone in enumerate(figures):
        assert_same(alone, found["window", place])
