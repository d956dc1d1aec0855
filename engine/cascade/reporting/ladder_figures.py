"""A whole ladder of tiers on recorded prompts: where each prompt ends, and what that gives and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from engine.cascade.reporting.boundary import BoundaryData
from engine.cascade.reporting.figures import Figure, cost_share_of, count_of, kept_of, mean_of, score_of
from engine.cascade.routing.scores import Floats, answering_tier, needs_larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where each prompt ends at some thresholds, and what its way there gave and cost; ``[prompts]`` each."""

    tiers: npt.NDArray[np.intp]
    """Which tier answers, from 0 for the smallest."""
    quality: Floats
    cost: Floats
    """All that smaller tiers did in vain counts."""
    ttft_s: Floats

    @classmethod
    def of(cls, boundaries: Sequence[BoundaryData], thresholds: Sequence[float]) -> Self:
        """From what was recorded at each boundary, on the same prompts in the same order.

        Raises:
            ValueError: the boundaries are of other prompts.
        """
        first = boundaries[0]
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
        return cls(tiers=tiers, quality=quality, cost=cost, ttft_s=wait)


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

    @property
    def share(self) -> Figure:
        """Share of prompts that the smallest tier does not answer."""
        smallest = self.shares[0]
        return Figure(value=1 - smallest.value, low=1 - smallest.high, high=1 - smallest.low)

    @classmethod
    def of(cls, boundaries: Sequence[BoundaryData], thresholds: Sequence[float]) -> Self:
        """From what was recorded at each boundary, on the same prompts in the same order.

        Raises:
            ValueError: the boundaries are of other prompts.
        """
        first, largest = boundaries[0], boundaries[-1]
        way = Way.of(boundaries, thresholds)
        missed = needs_larger(way.quality, largest.strong_score)
        return cls(
            prompts=len(first),
            shares=tuple(count_of(int((way.tiers == tier).sum()), len(first)) for tier in range(len(boundaries) + 1)),
            quality=score_of(way.quality),
            quality_kept=kept_of(way.quality, largest.strong_score),
            cost=mean_of(way.cost),
            cost_share=cost_share_of(way.cost, largest.strong_cost),
            ttft_s=mean_of(way.ttft_s),
            missed=count_of(int(missed.sum()), len(first)),
        )
