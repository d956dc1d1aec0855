"""What one threshold gives on some prompts, each figure with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from engine.cascade.boundary import BoundaryData
from engine.cascade.intervals import Interval, Resampling, clopper_pearson, percentile_interval
from engine.cascade.metrics import undefined
from engine.cascade.scores import Bools, Floats, needs_larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure and its 95 % interval: paired bootstrap for means and ratios, exact for counts."""

    value: float
    low: float
    high: float

    @property
    def interval(self) -> Interval:
        """Low and high."""
        return self.low, self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdFigures:
    """A boundary at one threshold."""

    threshold: float
    prompts: int
    unknown: int
    """Prompts with a NaN score: they went up."""
    quality: Figure
    """Mean score of the kept answers, 0 to 1."""
    weak: Figure
    """Of the small model alone."""
    strong: Figure
    share: Figure
    """Strong-call share, 0 to 1."""
    cost: Figure
    """Mean per prompt, in the unit of the data."""
    ttft_s: Figure
    """Mean seconds to the first token of the kept answer."""
    quality_kept: Figure | None
    """Quality / the large model's; ``None`` where that scores nothing."""
    cost_share: Figure | None
    """Cost / the large model's alone; ``None`` where that costs nothing."""
    pgr: Figure | None
    """(quality − weak) / (strong − weak)."""
    pgr_reason: str
    """Why PGR is ``None``, or empty."""
    missed: Figure
    """Share of all prompts that kept a small answer where the large one scored higher: the risk."""
    missed_of_kept: Figure | None
    """The same, of the prompts that stayed small; ``None`` where none did."""

    @classmethod
    def of(cls, data: BoundaryData, threshold: float, resampling: Resampling | None = None) -> Self:
        """All figures at a threshold.

        Args:
            data: the boundary.
            threshold: scores from here up go up.
            resampling: draws for as many prompts; made where there is none. Kept, they serve every threshold.
        """
        draws = resampling or Resampling.of(len(data))
        up = data.up(threshold)
        columns = {
            "quality": data.quality(up),
            "weak": data.weak_score,
            "strong": data.strong_score,
            "share": up.astype(np.float64),
            "cost": data.cost(up),
            "ttft_s": data.ttft_s(up),
            "large": data.strong_cost,
        }
        values = np.column_stack(list(columns.values()))
        points = dict(zip(columns, values.mean(axis=0).tolist(), strict=True))
        spread = dict(zip(columns, draws.means(values).T, strict=True))
        gap, gaps = points["strong"] - points["weak"], spread["strong"] - spread["weak"]
        missed = missed_prompts(data, up)
        pgr_reason = undefined(data) or _too_close(gaps)
        means = ("quality", "weak", "strong", "share", "cost", "ttft_s")
        return cls(
            threshold=threshold,
            prompts=len(data),
            unknown=data.unknown,
            **{name: figure_of(points[name], spread[name]) for name in means},
            quality_kept=ratio_of(points["quality"], spread["quality"], points["strong"], spread["strong"]),
            cost_share=ratio_of(points["cost"], spread["cost"], points["large"], spread["large"]),
            pgr=None
            if pgr_reason
            else ratio_of(points["quality"] - points["weak"], spread["quality"] - spread["weak"], gap, gaps),
            pgr_reason=pgr_reason,
            missed=count_of(int(missed.sum()), len(data)),
            missed_of_kept=None if up.all() else count_of(int(missed.sum()), int((~up).sum())),
        )


def missed_prompts(data: BoundaryData, up: Bools) -> Bools:
    """Who kept a small answer where the large one scored higher, ``[prompts]``."""
    return ~up & needs_larger(data.weak_score, data.strong_score)


def figure_of(point: float, draws: Floats) -> Figure:
    """A mean and its draws ``[draws]``."""
    low, high = percentile_interval(draws)
    return Figure(value=point, low=low, high=high)


def ratio_of(over: float, overs: Floats, under: float, unders: Floats) -> Figure | None:
    """A ratio of two means; draws in which it is undefined are left out."""
    defined = unders > 0
    if under <= 0 or not defined.any():
        return None
    return figure_of(over / under, overs[defined] / unders[defined])


def _too_close(gaps: Floats) -> str:
    if np.mean(gaps <= 0) <= 0.025:
        return ""
    return "The models' scores are too close on so few prompts: the gap between them may be none."


def count_of(hits: int, total: int) -> Figure:
    """A share of prompts, with its exact interval."""
    low, high = clopper_pearson(hits, total)
    return Figure(value=hits / total, low=low, high=high)
