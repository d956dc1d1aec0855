"""Requests take memory for KV as they write, whatever they may write: kept KV stays, and what cannot fit is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine import Engine
from engine.machine.memory import RESERVE_BYTES
from engine.types import (
    CacheMode,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
)
from tests.support.lazy_memory import needs_lazy_memory
from tests.support.tiny import make_tiny_checkpoint

CONTEXT = 4096


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "one", "qwen3", seed=1, max_position_embeddings=CONTEXT)
    engine = Engine(folder, threads=1)
    yield engine
    engine.close()


def request(prompt: str, max_tokens: int, mode: CacheMode = CacheMode.PREFIX) -> GenerationRequest:
    config = RunConfig(
        model="one",
        optimization=OptimizationConfig.at(Precision.INT4, mode),
        sampling=SamplingParams(max_tokens=max_tokens),
    )
    return GenerationRequest(messages=(Message("user", prompt),), config=config, cache_salt="me")


def end_of(engine: Engine, asked: GenerationRequest, *, after: int = 10**9) -> RunFinished | RunFailed:
    generation = engine.generate(asked)
    told: list[object] = []
    for event in generation:
        told.append(event)
        if len(told) == after:
            generation.cancel()
    last = told[-1]
    assert isinstance(last, RunFinished | RunFailed)
    return last


def limit(monkeypatch: pytest.MonkeyPatch, nbytes: int) -> None:
    monkeypatch.setattr("engine.machine.memory.available_bytes", lambda: RESERVE_BYTES + nbytes)


@needs_lazy_memory
def test_room_for_an_answer_that_is_not_written_pushes_nothing_out(
    tiny: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(end_of(tiny, request("a long story " * 30, 20)), RunFinished)
    (kept,) = tiny.cache_status().kept
    whole = kept.nbytes // kept.tokens * CONTEXT
    limit(monkeypatch, whole - kept.nbytes // 2)
    asked = replace(request("another one", CONTEXT), cache_salt="you")
    assert isinstance(end_of(tiny, asked, after=5), RunFinished)
    assert kept.tokens in [sequence.tokens for sequence in tiny.cache_status().kept]


@pytest.mark.parametrize("mode", [CacheMode.PREFIX, CacheMode.KV])
def test_what_could_not_fit_alone_is_refused_at_once(
    tiny: Engine, monkeypatch: pytest.MonkeyPatch, mode: CacheMode
) -> None:
    first = end_of(tiny, request("a story", 3))
    assert isinstance(first, RunFinished)
    assert first.metrics
    limit(monkeypatch, first.metrics.kv_bytes * 8)
    refused = end_of(tiny, request("a story", CONTEXT, mode))
    assert isinstance(refused, RunFailed)
    assert refused.kind == "InsufficientMemoryError"
    assert "A KV cache of 4,096 tokens needs about" in refused.error
    assert isinstance(end_of(tiny, request("a story", 3, mode)), RunFinished)
