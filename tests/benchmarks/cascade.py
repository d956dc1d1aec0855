"""The cascade's figures from recorded answers: no model is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.settings import REPOSITORY
from engine.cascade import (
    BoundaryData,
    KeepQuality,
    Resampling,
    RiskAtMost,
    RouterMetrics,
    SpendAtMost,
    answer_table,
    default_answer_score,
    learn,
    needs_larger,
    random_score,
    read_prompts,
    scored_by_both,
    select,
    stratified_parts,
)
from engine.cascade.records import RoutedPrompt
from tests.benchmarks.table import Row

PAIRS = REPOSITORY / "data" / "pairs"
BOUNDARIES = (
    ("smollm2-135m@int4", "qwen2.5-coder-0.5b@int4"),
    ("qwen2.5-coder-0.5b@int4", "qwen2.5-coder-1.5b@int4"),
    ("smollm2-135m@int4", "qwen2.5-coder-1.5b@int4"),
)


def run(_: Path) -> list[Row]:
    """Each boundary of each recorded set: learned on one third of the prompts, judged on the others."""
    rows: list[Row] = []
    for file in sorted(PAIRS.glob("*.jsonl")):
        prompts = read_prompts(file)
        for weak, strong in BOUNDARIES:
            scored = scored_by_both(prompts, weak, strong)
            if scored:
                rows += _boundary(file.stem, scored, weak, strong)
    return rows


def _boundary(name: str, prompts: tuple[RoutedPrompt, ...], weak: str, strong: str) -> list[Row]:
    ids = tuple(prompt.prompt_id for prompt in prompts)
    categories = tuple(prompt.category for prompt in prompts)
    learning, *rest = stratified_parts(ids, categories, parts=3, seed=0)
    held = np.sort(np.concatenate(rest))
    table = answer_table([prompt.answers[weak] for prompt in prompts])
    scores = {side: np.array([p.answers[side].score for p in prompts], np.float64) for side in (weak, strong)}
    label = needs_larger(scores[weak], scores[strong])
    learned = learn(type(table)(names=table.names, values=table.values[learning]), label[learning])
    routers = {
        "escalate, no data": default_answer_score(table),
        "escalate, learned": learned.weights.score(table) if learned.weights else default_answer_score(table),
        "random": random_score([prompt.prompt for prompt in prompts]),
    }
    print(
        f"{name}: {weak} → {strong}, {len(prompts)} prompts: {scores[weak].mean():.1%} and {scores[strong].mean():.1%}"
        + (f"; {learned.reason}" if learned.reason else f"; learned on {learned.prompts}, judged on {len(held)}")
    )
    rows: list[Row] = []
    for router, score in routers.items():
        data = BoundaryData.of(prompts, weak, strong, score, small_first=router != "random").rows(held)
        metrics = RouterMetrics.of(data, Resampling.of(len(data)))
        interval = metrics.apgr_area_interval
        row: Row = {
            "set": name,
            "tiers": f"{weak} → {strong}",
            "router": router,
            "apgr_area": metrics.apgr_area,
            "apgr_95": f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else None,
            "apgr_mean": metrics.apgr_mean,
            "cpt50": metrics.cpt50,
            "cpt80": metrics.cpt80,
            "aiq": metrics.aiq,
        }
        for title, target in (
            ("keep 95 %", KeepQuality(0.95)),
            ("spend 60 %", SpendAtMost(0.6)),
            ("risk 10 %", RiskAtMost(0.10)),
        ):
            picked = select(data, target)
            test = picked.test
            row[title] = (
                f"t={picked.threshold:.3f} quality {test.quality_kept.value:.1%} "
                f"({test.quality_kept.low:.1%}–{test.quality_kept.high:.1%}) cost {test.cost_share.value:.1%} "
                f"missed {test.missed.value:.1%}{'' if picked.met else ' not met: ' + picked.reason}"
                if test.quality_kept and test.cost_share
                else None
            )
        rows.append(row)
    return rows
