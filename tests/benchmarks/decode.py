"""Decode and prefill speed of every precision beside the reference, alternated in one run.

A round asks each lane in turn, so that a slow minute of the machine falls on all of them. Figures
are medians over the rounds; ``spread`` is the distance of the quartiles over the median.
"""

from __future__ import annotations

import statistics
from contextlib import closing
from pathlib import Path

from engine import Engine, list_models
from engine.types import (
    Backend,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
)
from tests.benchmarks.table import Row

ROUNDS = 5
NEW_TOKENS = 64
PROMPT = "Explain how a bicycle stays upright while it moves, and why it falls over when it stops."
LONG_PROMPT = "Count these words: " + "the wheel turns and the road goes on " * 61
MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")

LANES: tuple[tuple[Backend, Precision], ...] = (
    (Backend.REFERENCE, Precision.BF16),
    (Backend.LOCAL, Precision.BF16),
    (Backend.LOCAL, Precision.INT4),
    (Backend.LOCAL, Precision.NF4),
)


def run(models_dir: Path) -> list[Row]:
    """Measure every installed model of the two small ones, each lane beside the reference."""
    installed = {model.name for model in list_models(models_dir) if model.installed}
    rows: list[Row] = []
    with closing(Engine(models_dir)) as engine:
        for model in MODELS:
            if model in installed:
                rows += _measure(engine, model)
    return rows


def _measure(engine: Engine, model: str) -> list[Row]:
    runs: dict[tuple[Backend, Precision], list[tuple[RunFinished, RunFinished]]] = {lane: [] for lane in LANES}
    for round_ in range(ROUNDS + 1):
        for lane in LANES:
            pair = (ask(engine, model, lane, PROMPT, NEW_TOKENS), ask(engine, model, lane, LONG_PROMPT, 1))
            if round_:  # the first one loads
                runs[lane].append(pair)
    reference = statistics.median(_rate(short) for short, _ in runs[LANES[0]])
    rows = []
    for (backend, precision), pairs in runs.items():
        rates = [_rate(short) for short, _ in pairs]
        low, middle, high = statistics.quantiles(rates, n=4)
        rows.append(
            {
                "model": model,
                "engine": str(backend),
                "precision": str(precision),
                "decode_tps": middle,
                "decode_ratio": middle / reference,
                "spread": (high - low) / middle,
                "prefill_tps": statistics.median(
                    long.metrics.prompt_tokens / long.metrics.prefill_s for _, long in pairs
                ),
                "prefill_tokens": pairs[0][1].metrics.prompt_tokens,
                "ttft_s": statistics.median(short.metrics.ttft_s or 0.0 for short, _ in pairs),
                "weights_bytes": pairs[0][0].metrics.weights_bytes,
                "threads": pairs[0][0].environment["threads"],
            }
        )
    return rows


def _rate(run: RunFinished) -> float:
    rate = run.metrics.tokens_per_second
    if rate is None:
        raise RuntimeError("the model ended its answer after one token")
    return rate


def ask(engine: Engine, model: str, lane: tuple[Backend, Precision], prompt: str, max_tokens: int) -> RunFinished:
    """One greedy run to its end."""
    backend, precision = lane
    config = RunConfig(
        model=model,
        backend=backend,
        optimization=OptimizationConfig.at(precision),
        sampling=SamplingParams(max_tokens=max_tokens),
    )
    last = list(engine.generate(GenerationRequest(messages=(Message("user", prompt),), config=config)))[-1]
    if not isinstance(last, RunFinished):
        raise RuntimeError(f"{lane} on {model}: {last}")
    return last
