"""A whole ladder of tiers on recorded prompts: where each prompt ends, and what that gives and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from engine.cascade.boundary import BoundaryData
from engine.cascade.figures import Figure, count_of, figure_of, ratio_of
from engine.cascade.intervals import Resampling
from engine.cascade.scores import answering_tier, needs_larger


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderFigures:
    """Two tiers or more at one threshold for each boundary, with 95 % intervals."""

    prompts: int
    shares: tuple[Figure, ...]
    """Of prompts that each tier answers, from the smallest tier up."""
    quality: Figure
    """Mean score of the kept answers, 0 to 1."""
    quality_kept: Figure | None
    """Quality / the largest tier's; ``None`` where that scores nothing."""
    cost: Figure
    """Mean per prompt, in the unit of the data: all that smaller tiers did in vain counts."""
    cost_share: Figure | None
    """Cost / the largest tier's alone; ``None`` where that costs nothing."""
    ttft_s: Figure
    """Mean seconds to the first token of the kept answer."""
    missed: Figure
    """Share of prompts that kept an answer where the largest tier scored higher."""

    @classmethod
    def of(cls, boundaries: Sequence[BoundaryData], thresholds: Sequence[float]) -> Self:
        """From what was recorded at each boundary, on the same prompts in the same order.

        Raises:
            ValueError: the boundaries are of other prompts.
        """
        first, largest = boundaries[0], boundaries[-1]
        if any(boundary.ids != first.ids for boundary in boundaries):
            raise ValueError("the boundaries of a ladder are about the same prompts")
        tiers = answering_tier(np.array([boundary.router_score for boundary in boundaries]), thresholds)
        scores, costs, waits = (
            np.array(
                [getattr(first, f"weak_{name}"), *(getattr(boundary, f"strong_{name}") for boundary in boundaries)]
            )
            for name in ("score", "cost", "ttft_s")
        )
        passed = np.array([boundary.tried_cost + boundary.extra_cost for boundary in boundaries])
        before = np.vstack([np.zeros(len(first)), np.cumsum(passed, axis=0)])
        judged = np.vstack([*(boundary.extra_cost for boundary in boundaries), np.zeros(len(first))])
        # an answer that is kept streamed from its first token on, unless it waited for the judgement
        delay = np.vstack([*(np.where(each.tried, 0.0, each.extra_cost) for each in boundaries), np.zeros(len(first))])
        quality, cost, wait = (
            np.take_along_axis(each, tiers[None], axis=0)[0]
            for each in (scores, costs + before + judged, waits + before + delay)
        )
        columns = np.column_stack([quality, cost, wait, largest.strong_score, largest.strong_cost])
        points, draws = columns.mean(axis=0).tolist(), Resampling.of(len(first)).means(columns).T
        missed = needs_larger(quality, largest.strong_score)
        return cls(
            prompts=len(first),
            shares=tuple(count_of(int((tiers == tier).sum()), len(first)) for tier in range(len(scores))),
            quality=figure_of(points[0], draws[0]),
            quality_kept=ratio_of(points[0], draws[0], points[3], draws[3]),
            cost=figure_of(points[1], draws[1]),
            cost_share=ratio_of(points[1], draws[1], points[4], draws[4]),
            ttft_s=figure_of(points[2], draws[2]),
            missed=count_of(int(missed.sum()), len(first)),
        )
