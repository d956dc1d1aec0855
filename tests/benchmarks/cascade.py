"""The cascade's figures from recorded answers: no model is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
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
)
from tests.benchmarks import coverage
from tests.benchmarks.table import Row

PAIRS = REPOSITORY / "data" / "pairs"
BOUNDARIES = (
    ("smollm2-135m@int4", "qwen2.5-coder-0.5b@int4"),
    ("qwen2.5-coder-0.5b@int4", "qwen2.5-coder-1.5b@int4"),
    ("smollm2-135m@int4", "qwen2.5-coder-1.5b@int4"),
)
KEEP = KeepQuality(0.95)
SPEND = SpendAtMost(0.6)
TARGETS = {"keep 95 %": KEEP, "spend 60 %": SPEND, "risk 10 %": RiskAtMost(0.10)}
PROMISED: tuple[tuple[str, KeepQuality | SpendAtMost], ...] = (("keep 95 %", KEEP), ("spend 60 %", SPEND))
SPLITS = 20
"""Ways to halve the prompts, beside the one that all other figures are from."""
COMPETENT = 0.75
"""Share of the large model's score that the small one reaches in a category where it counts as competent."""


COVERED = (BOUNDARIES[1], (Choice.ESCALATE, Choice.ESCALATE_LEARNED, Choice.ROUTE_LEARNED))
"""Tiers and routers whose promises are put to the test on many samples."""


def run(pairs: Sequence[Path]) -> list[Row]:
    """Each router on each boundary of each recorded set: learned on a third of the prompts, judged on the others. Then
    how often promises are kept, and intervals hold the truth.

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
    return [*rows, *_coverage()]


def _coverage() -> list[Row]:
    rows: list[Row] = []
    for file in sorted(PAIRS.glob("*.jsonl")):
        prompts, ((weak, strong), routers) = read_prompts(file), COVERED
        for choice in routers if scored_by_both(prompts, weak, strong) else ():
            study = Study.of(prompts, weak, strong, choice)
            for name, target in PROMISED[: 2 if choice is routers[0] else 1]:
                title = {"set": f"{file.stem}, {len(study.data)} as population", "router": f"{choice}, {name}"}
                rows += coverage.run(title, study.data, target)
    return rows


def _row(name: str, prompts: Sequence[RoutedPrompt], weak: str, strong: str, choice: Choice) -> Row:
    study = Study.of(prompts, weak, strong, choice)
    data = study.data
    metrics = RouterMetrics.of(data, Resampling.of(len(data)))
    interval = metrics.apgr_area_interval
    competent = _competent_part(data)
    halved = range(1, SPLITS + 1 if choice is not Choice.CHANCE else 1)
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
        **{title: _told(select(data, target)) for title, target in TARGETS.items()},
        "keep 95 %, splits": _over_splits(select(data, KEEP, seed).test for seed in halved),
        "competent in": ", ".join(competent[0]) if competent else None,
        "keep 95 % there": _told(select(competent[1], KEEP)) if competent else None,
        "there, splits": _over_splits(select(competent[1], KEEP, seed).test for seed in halved) if competent else None,
    }


def _competent_part(data: BoundaryData) -> tuple[list[str], BoundaryData] | None:
    """The categories in which the small model is nearly as good as the large one, over all of these prompts, and theirs
    alone."""
    found = []
    for category in sorted(set(data.categories)):
        rows = np.array([each == category for each in data.categories])
        if data.weak_score[rows].sum() >= COMPETENT * data.strong_score[rows].sum() > 0:
            found.append(category)
    rows = np.flatnonzero([category in found for category in data.categories])
    return (found, data.rows(rows)) if len(rows) > 1 else None


def _over_splits(reports: Iterable[ThresholdFigures]) -> str | None:
    """Of several ways to halve the prompts: what was kept and spent on average."""
    found = [(each.quality_kept, each.cost_share) for each in reports]
    kept = [(quality.value, cost.value) for quality, cost in found if quality is not None and cost is not None]
    if not kept:
        return None
    quality, cost = np.mean(kept, axis=0)
    return f"quality {quality:.1%} cost {cost:.1%}"


def _told(picked: Selection) -> str | None:
    test = picked.test
    if test.quality_kept is None or test.cost_share is None:
        return None
    return (
        f"t={picked.threshold:.3f} quality {test.quality_kept.value:.1%} "
        f"({test.quality_kept.low:.1%}–{test.quality_kept.high:.1%}) cost {test.cost_share.value:.1%} "
        f"missed {test.missed.value:.1%}{'' if picked.promise.shown else ' not shown'}"
    )
