"""A chat of ten turns under the three cache modes: how long each turn takes to its first token."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import closing
from functools import wraps
from pathlib import Path
from time import perf_counter
from typing import Any

from engine import Engine
from engine.types import (
    CacheMode,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
)
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread

MODEL = "smollm2-135m"
ANSWER_TOKENS = 60
ROUNDS = 3
TURNS = (
    "I want to grow tomatoes on a balcony. Where do I begin?",
    "Which pots would you take, and how large?",
    "What soil do they need?",
    "How often should I water them in a hot summer?",
    "The lower leaves turn yellow. What may be wrong?",
    "Are there flowers that keep insects away from them?",
    "When are the fruits ripe enough to pick?",
    "How do I keep seeds for the next year?",
    "What can I cook with twenty of them?",
    "Sum up the three most important points.",
)


def run(models_dir: Path, precision: Precision = Precision.INT4) -> list[Row]:
    """Every turn in each mode in turn, the history being the same; medians over the rounds.

    Without any KV only the first tokens of an answer are computed: each costs the whole text.
    """
    seconds: dict[tuple[CacheMode, int], list[float]] = {}
    counts: dict[tuple[CacheMode, int], tuple[int, int]] = {}
    keeping_s, decoding_s, differing = 0.0, 0.0, 0
    with closing(Engine(models_dir)) as engine:
        _ask(engine, precision, CacheMode.PREFIX, (Message("user", "Hi"),), "warm-up", 2)
        spent = _timed_keeping(engine)
        for round_ in range(ROUNDS):
            history: tuple[Message, ...] = ()
            for turn, text in enumerate(TURNS, 1):
                history = (*history, Message("user", text))
                answers = {}
                for mode in CacheMode:
                    most = 3 if mode is CacheMode.OFF else ANSWER_TOKENS
                    spent.clear()
                    finished = _ask(engine, precision, mode, history, f"round {round_}", most)
                    metrics = finished.metrics
                    assert metrics
                    assert metrics.ttft_s
                    seconds.setdefault((mode, turn), []).append(metrics.ttft_s)
                    computed = metrics.prompt_tokens - metrics.cached_tokens
                    counts[mode, turn] = (metrics.cached_tokens, computed)
                    answers[mode] = finished
                    if mode is CacheMode.PREFIX:
                        keeping_s += sum(spent)
                        decoding_s += metrics.e2e_s - metrics.ttft_s
                differing += answers[CacheMode.KV].token_ids != answers[CacheMode.PREFIX].token_ids
                answer = answers[CacheMode.PREFIX]
                history = (*history, Message("assistant", answer.text, answer.token_ids))
    last = len(TURNS)
    kept, alone = (statistics.median(seconds[mode, last]) for mode in (CacheMode.PREFIX, CacheMode.KV))
    print(
        f"{MODEL} in {precision}, {ROUNDS} rounds. Turn {last}: TTFT {kept / alone:.3f} of the same turn without reuse."
    )
    print(f"  Lending and keeping took {keeping_s / decoding_s:.2%} of the decode time.")
    print(f"  Answers that differ from those without reuse: {differing} of {ROUNDS * last}.")
    return [
        {
            "mode": str(mode),
            "turn": turn,
            "ttft_s": statistics.median(seconds[mode, turn]),
            "spread": spread(seconds[mode, turn]),
            "cached_tokens": counts[mode, turn][0],
            "computed_tokens": counts[mode, turn][1],
        }
        for mode in CacheMode
        for turn in range(1, last + 1)
    ]


def _ask(
    engine: Engine, precision: Precision, mode: CacheMode, messages: tuple[Message, ...], salt: str, max_tokens: int
) -> RunFinished:
    config = RunConfig(
        model=MODEL,
        optimization=OptimizationConfig.at(precision, mode),
        sampling=SamplingParams(max_tokens=max_tokens),
    )
    last = list(engine.generate(GenerationRequest(messages=messages, config=config, cache_salt=salt)))[-1]
    if not isinstance(last, RunFinished):
        raise RuntimeError(f"the chat could not be answered: {last}")
    return last


def _timed_keeping(engine: Engine) -> list[float]:
    """Seconds that the prefix cache takes from now on, a figure for each call."""
    spent: list[float] = []

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = perf_counter()
            result = method(*args, **kwargs)
            spent.append(perf_counter() - begun)
            return result

        return call

    cache = engine._cache
    assert cache
    for name in ("lend", "settle"):
        setattr(cache, name, timed(getattr(cache, name)))
    return spent
