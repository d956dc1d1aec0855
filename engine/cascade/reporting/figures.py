"""What one threshold gives on some prompts, each figure with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from engine.cascade.reporting.boundary import BoundaryData
from engine.cascade.reporting.intervals import Interval, clopper_pearson, kept_interval, mean_interval, ratio_interval
from engine.cascade.reporting.metrics import undefined
from engine.cascade.routing.scores import Bools, Floats, needs_larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure and its 95 % interval, never of zero width: exact for counts, the score interval for the quality kept,
    Student's and Fieller's for means and ratios of costs."""

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
    def of(cls, data: BoundaryData, threshold: float) -> Self:
        """All figures at a threshold, from which scores go up."""
        up = data.up(threshold)
        quality, cost = data.quality(up), data.cost(up)
        missed = missed_prompts(data, up)
        pgr, pgr_reason = _pgr(data, quality)
        return cls(
            threshold=threshold,
            prompts=len(data),
            unknown=data.unknown,
            quality=score_of(quality),
            weak=score_of(data.weak_score),
            strong=score_of(data.strong_score),
            share=count_of(int(up.sum()), len(data)),
            cost=mean_of(cost),
            ttft_s=mean_of(data.ttft_s(up)),
            quality_kept=kept_of(quality, data.strong_score),
            cost_share=cost_share_of(cost, data.strong_cost),
            pgr=pgr,
            pgr_reason=pgr_reason,
            missed=count_of(int(missed.sum()), len(data)),
            missed_of_kept=None if up.all() else count_of(int(missed.sum()), int((~up).sum())),
        )


def missed_prompts(data: BoundaryData, up: Bools) -> Bools:
    """Who kept a small answer where the large one scored higher, ``[prompts]``."""
    return ~up & needs_larger(data.weak_score, data.strong_score)


def count_of(hits: int, total: int) -> Figure:
    """A share of prompts, with its exact interval."""
    low, high = clopper_pearson(hits, total)
    return Figure(value=hits / total, low=low, high=high)


def score_of(scores: Floats) -> Figure:
    """A mean score ``[prompts]``, 0 to 1: exact where each answer is right or wrong."""
    if bool(((scores == 0) | (scores == 1)).all()):
        return count_of(int(scores.sum()), len(scores))
    low, high = mean_interval(scores, 0.0, 1.0)
    return Figure(value=float(scores.mean()), low=max(0.0, low), high=min(1.0, high))


def mean_of(values: Floats) -> Figure:
    """A mean of costs ``[prompts]``, none below 0; a prompt of a kind not met may cost up to twice as much."""
    mean = float(values.mean())
    low, high = mean_interval(values, 0.0, 2 * mean)
    return Figure(value=mean, low=max(0.0, low), high=high)


def kept_of(quality: Floats, strong: Floats) -> Figure | None:
    """Mean score / the large model's; ``None`` where that scores nothing."""
    if strong.sum() <= 0:
        return None
    low, high = kept_interval(quality, strong)
    return Figure(value=float(quality.sum() / strong.sum()), low=low, high=high)


def cost_share_of(cost: Floats, strong: Floats) -> Figure | None:
    """Mean cost / the large model's; ``None`` where that costs nothing, or may cost nothing."""
    if strong.sum() <= 0:
        return None
    share = float(cost.sum() / strong.sum())
    interval = ratio_interval(cost, strong, 0.0, 2 * max(share, 1.0))
    return None if interval is None else Figure(value=share, low=max(0.0, interval[0]), high=interval[1])


def _pgr(data: BoundaryData, quality: Floats) -> tuple[Figure | None, str]:
    """PGR, or why there is none."""
    if reason := undefined(data):
        return None, reason
    gap, gained = data.strong_score - data.weak_score, quality - data.weak_score
    value = float(gained.sum() / gap.sum())
    interval = ratio_interval(gained, gap, value - 1, value + 1)
    if interval is None or len(data) == 1:
        return None, "The models' scores are too close on so few prompts: the gap between them may be none."
    return Figure(value=value, low=interval[0], high=interval[1]), ""
