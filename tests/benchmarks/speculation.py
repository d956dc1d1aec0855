"""Speculative decoding against the same engine at the same precision with the gear off, prompt by prompt."""

from __future__ import annotations

import statistics
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from app.runs.prompts import load_prompts
from app.settings import REPOSITORY
from engine import Engine
from engine.types import Drafter, Message, OptimizationConfig, Precision, RunFinished, RunMetrics, SpeculationConfig
from tests.benchmarks.asking import ask
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread

PROMPTS = REPOSITORY / "data" / "prompts" / "speculation.jsonl"
NEW_TOKENS = 96
NGRAM = SpeculationConfig(drafter=Drafter.NGRAM)
COPY_HEAVY = ("Edit code", "Extract", "Rewrite with one change")
LANES: tuple[tuple[str, Precision, SpeculationConfig], ...] = (
    ("smollm2-135m", Precision.INT4, NGRAM),
    ("smollm2-135m", Precision.INT8, NGRAM),
    ("qwen2.5-coder-0.5b", Precision.INT4, NGRAM),
    ("qwen2.5-coder-0.5b", Precision.INT8, NGRAM),
    ("qwen2.5-coder-1.5b", Precision.INT4, NGRAM),
    ("qwen2.5-coder-1.5b", Precision.BF16, SpeculationConfig.with_self()),
)


def run(models_dir: Path, models: tuple[str, ...], rounds: int) -> list[Row]:
    """Plain and drafted in turn, the first of a pair alternating; decode time alone is compared.

    Args:
        models_dir: where models are kept.
        models: catalogue names; lanes of others are left out.
        rounds: pairs for each prompt.
    """
    rows: list[Row] = []
    for model, precision, speculation in LANES:
        if model in models:
            # an engine for each lane: what is in memory beside it must not draft
            with closing(Engine(models_dir)) as engine:
                rows += _lane(engine, model, precision, speculation, rounds)
    return rows


def _lane(engine: Engine, model: str, precision: Precision, speculation: SpeculationConfig, rounds: int) -> list[Row]:
    plain_gears = OptimizationConfig.at(precision)
    gears = OptimizationConfig.at(precision, speculation=speculation)
    for warm_up in (plain_gears, gears):
        ask(engine, model, (Message("user", "Hi"),), warm_up, 8)
    ratios: dict[str, list[float]] = defaultdict(list)
    drafted: dict[str, list[RunMetrics]] = defaultdict(list)
    identical: dict[str, list[bool]] = defaultdict(list)
    off_s = off_steps = 0.0
    for prompt in load_prompts(PROMPTS):
        messages = (Message("user", prompt.prompt),)
        times: dict[bool, list[float]] = {False: [], True: []}
        answers: dict[bool, RunFinished] = {}
        for round_ in range(rounds):
            for on in (False, True) if round_ % 2 == 0 else (True, False):
                run_, metrics = ask(engine, model, messages, gears if on else plain_gears, NEW_TOKENS)
                answers[on] = run_
                times[on].append(metrics.tpot_s or 0.0)
                if on:
                    drafted[prompt.category].append(metrics)
                    if run_.speculation and not run_.speculation.rounds:
                        off_s += run_.speculation.drafting_s
                        off_steps += run_.speculation.plain_s
        ratios[prompt.category].append(statistics.median(times[False]) / statistics.median(times[True]))
        identical[prompt.category].append(answers[False].token_ids == answers[True].token_ids)
    if off_steps:
        print(
            f"{model} {precision}: where nothing was drafted, drafting took {off_s / off_steps:.2%} of the steps' time"
        )
    return [
        {
            "model": model,
            "precision": str(precision),
            "drafter": str(speculation.drafter),
            "category": category,
            "ratio": statistics.median(found),
            "spread": spread(found),
            "worst": min(found),
            "acceptance_rate": _share(sum(m.accepted_tokens for m in drafted[category]), drafted[category]),
            "mean_acceptance_length": _length(drafted[category]),
            "identical": f"{sum(identical[category])} of {len(identical[category])}",
        }
        for category, found in ratios.items()
    ]


def _share(accepted: int, runs: list[RunMetrics]) -> float | None:
    drafted = sum(metrics.drafted_tokens for metrics in runs)
    return accepted / drafted if drafted else None


def _length(runs: list[RunMetrics]) -> float | None:
    steps = sum(metrics.verification_steps for metrics in runs)
    return 1 + sum(metrics.accepted_tokens for metrics in runs) / steps if steps else None
