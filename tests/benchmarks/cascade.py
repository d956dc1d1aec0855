"""The cascade's figures from recorded answers: no model is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.router_scoring import Choice
from app.router_study import Study
from app.settings import REPOSITORY
from engine.cascade import (
    BoundaryData,
    KeepQuality,
    Resampling,
    RiskAtMost,
    RoutedPrompt,
    RouterMetrics,
    Selection,
    SpendAtMost,
    ThresholdFigures,
    read_prompts,
    scored_by_both,
    select,
    stratified_parts,
)
from engine.cascade.selection import Choice as Picked
from engine.cascade.selection import choose
from tests.benchmarks.table import Row

PAIRS = REPOSITORY / "data" / "pairs"
BOUNDARIES = (
    ("smollm2-135m@int4", "qwen2.5-coder-0.5b@int4"),
    ("qwen2.5-coder-0.5b@int4", "qwen2.5-coder-1.5b@int4"),
    ("smollm2-135m@int4", "qwen2.5-coder-1.5b@int4"),
)
TARGETS = {"keep 95 %": KeepQuality(0.95), "spend 60 %": SpendAtMost(0.6), "risk 10 %": RiskAtMost(0.10)}
COMPETENT = 0.8
"""Share of the large model's score that the small one reaches in a category where it counts as competent."""


def run(pairs: Sequence[Path]) -> list[Row]:
    """Each router on each boundary of each recorded set: learned on a third of the prompts, judged on the others.

    Args:
        pairs: files of recorded answers, beside those that come with Gearbox.
    """
    rows: list[Row] = []
    for file in (*sorted(PAIRS.glob("*.jsonl")), *pairs):
        prompts = read_prompts(file)
        for weak, strong in BOUNDARIES:
            if scored := scored_by_both(prompts, weak, strong):
                scores = (f"{np.mean([p.answers[tier].score for p in scored]):.1%}" for tier in (weak, strong))
                print(f"{file.stem}: {weak} → {strong}, {len(scored)} prompts: {' and '.join(scores)}")
                rows += [_row(file.stem, scored, weak, strong, choice) for choice in Choice]
    return rows


def _row(name: str, prompts: Sequence[RoutedPrompt], weak: str, strong: str, choice: Choice) -> Row:
    study = Study.of(prompts, weak, strong, choice)
    data = study.data
    metrics = RouterMetrics.of(data, Resampling.of(len(data)))
    interval = metrics.apgr_area_interval
    categories, there = _competent_part(data)
    return {
        "set": name,
        "tiers": f"{weak} → {strong}",
        "router": f"{choice}{' (nothing learned)' if study.reason else ''}",
        "prompts": len(data),
        "apgr_area": metrics.apgr_area,
        "apgr_95": f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else None,
        "apgr_mean": metrics.apgr_mean,
        "cpt50": metrics.cpt50,
        "cpt80": metrics.cpt80,
        "aiq": metrics.aiq,
        **{title: _told(picked := select(data, target), picked.test) for title, target in TARGETS.items()},
        "competent in": ", ".join(categories) or None,
        "keep 95 % there": there,
    }


def _competent_part(data: BoundaryData) -> tuple[list[str], str | None]:
    """The categories in which the small model is nearly as good, as the half says that chooses thresholds; and a
    threshold chosen there, as the other half reports it."""
    choosing, reporting = (data.rows(half) for half in stratified_parts(data.ids, data.categories))
    found = []
    for category in sorted(set(data.categories)):
        rows = np.array([each == category for each in choosing.categories])
        if choosing.weak_score[rows].sum() >= COMPETENT * choosing.strong_score[rows].sum() > 0:
            found.append(category)
    if not found:
        return found, None
    choosing, reporting = (
        half.rows(np.flatnonzero([category in found for category in half.categories])) for half in (choosing, reporting)
    )
    picked = choose(choosing, KeepQuality(0.95))
    return found, _told(picked, ThresholdFigures.of(reporting, picked.threshold))


def _told(picked: Selection | Picked, test: ThresholdFigures) -> str | None:
    if test.quality_kept is None or test.cost_share is None:
        return None
    return (
        f"t={picked.threshold:.3f} quality {test.quality_kept.value:.1%} "
        f"({test.quality_kept.low:.1%}–{test.quality_kept.high:.1%}) cost {test.cost_share.value:.1%} "
        f"missed {test.missed.value:.1%}{'' if picked.met else ' not met: ' + picked.reason}"
    )
