"""How good a router is over all its thresholds, in the field's own figures.

PGR(c) = (quality at strong-call share c − weak) / (strong − weak). It needs a larger tier that scores
higher: where it does not, every figure built on PGR is ``None``, and :func:`undefined` says why.
Between two thresholds a curve is a straight line: what tossing a coin between them gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from engine.cascade.reporting.boundary import BoundaryData, Curve, descending
from engine.cascade.reporting.intervals import Interval, Resampling, percentile_interval, widened
from engine.cascade.routing.scores import Floats

CALL_BUDGETS = tuple(step / 10 for step in range(1, 11))
"""Strong-call shares of the mean APGR: 10, 20, … 100 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterMetrics:
    """One router's figures at one boundary. What is ``None`` is undefined, and ``reason`` says why."""

    weak: float
    """Mean score of the small model alone."""
    strong: float
    apgr_mean: float | None
    """Mean PGR at ten call budgets, 10 to 100 % (RouteLLM, arXiv:2406.18665). Chance gives 0.55."""
    apgr_area: float | None
    """Area between the router's curve and the small model / area between the two models, over strong-call
    share: the form of RouteLLM's published code. Chance gives 0.5."""
    apgr_area_interval: Interval | None
    """95 %, paired bootstrap, as all intervals here. ``None`` where no draws are given, the figure is undefined, or
    the models' gap is none in more than one draw of forty."""
    apgr_mean_interval: Interval | None
    cpt50: float | None
    """Least strong-call share that reaches a PGR of 50 %."""
    cpt50_interval: Interval | None
    cpt80: float | None
    cpt80_interval: Interval | None
    aiq: float | None
    """Average improvement in quality (RouterBench, arXiv:2403.12031); ``None`` where the larger tier is not dearer."""
    aiq_interval: Interval | None
    reason: str

    @classmethod
    def of(cls, data: BoundaryData, resampling: Resampling | None = None) -> Self:
        """All figures; with their intervals where draws of as many prompts are given."""
        curve, reason = Curve.of(data), undefined(data)
        share, quality = whole_curve(data, curve)
        weak, strong = float(data.weak_score.mean()), float(data.strong_score.mean())
        pgr = None if reason else (quality - weak) / (strong - weak)
        draws = None if resampling is None else _Draws.of(data, resampling)
        paired = draws if draws and pgr is not None and not draws.gap_may_be_none else None
        figures: dict[str, float | None] = {
            "apgr_mean": None if pgr is None else float(np.interp(CALL_BUDGETS, share, pgr).mean()),
            "apgr_area": None if pgr is None else float(np.trapezoid(pgr, share)),
            "cpt50": None if pgr is None else first_reach(share, pgr, 0.5),
            "cpt80": None if pgr is None else first_reach(share, pgr, 0.8),
            "aiq": aiq(curve, float(data.weak_cost.mean()), float(data.strong_cost.mean())),
        }
        intervals = {
            f"{name}_interval": _interval(getattr(source, name), value, len(data)) if source else None
            for name, value in figures.items()
            for source in (draws if name == "aiq" else paired,)
        }
        return cls(weak=weak, strong=strong, reason=reason, **figures, **intervals)  # type: ignore[arg-type]


def undefined(data: BoundaryData) -> str:
    """Why PGR is undefined; empty where it is not."""
    gap = float(data.strong_score.mean() - data.weak_score.mean())
    if abs(gap) < 1e-12:
        return "Both models score the same on these prompts: there is no gap to recover."
    return "" if gap > 0 else "The larger model scores lower on these prompts: there is no gap to recover."


def whole_curve(data: BoundaryData, curve: Curve) -> tuple[Floats, Floats]:
    """Strong-call share and quality from 0 to 1: the curve, begun at the small model alone where NaN
    scores keep every threshold from reaching that."""
    if curve.share[0] == 0:
        return curve.share, curve.quality
    return np.append(0.0, curve.share), np.append(data.weak_score.mean(), curve.quality)


def quality_at_share(data: BoundaryData, share: float | Floats) -> Floats:
    """The router's mean score at strong-call shares, 0 to 1."""
    return np.asarray(np.interp(share, *whole_curve(data, Curve.of(data))))


def random_quality(data: BoundaryData, share: float | Floats) -> Floats:
    """What chance gives at strong-call shares: a straight line from the small model to the large one."""
    weak, strong = data.weak_score.mean(), data.strong_score.mean()
    return np.asarray(weak + np.asarray(share) * (strong - weak), np.float64)


def oracle_quality(data: BoundaryData, share: float | Floats) -> Floats:
    """The best that any router could give with *at most* these strong-call shares.

    It sends the prompts that gain most first, for right/wrong scores those that only the large model gets
    right, and stops where nothing is gained: past that share the line is flat, and prompts that only the
    small model gets right stay there. A share that is no whole number of prompts counts in part:
    weak + min(share, only-strong) for right/wrong scores.
    """
    gains = np.sort(np.maximum(data.strong_score - data.weak_score, 0.0))[::-1]
    n = len(data)
    total = data.weak_score.sum() + np.append(0.0, np.cumsum(gains))
    return np.asarray(np.interp(np.asarray(share) * n, np.arange(n + 1), total) / n)


def first_reach(share: Floats, values: Floats, level: float) -> float | None:
    """The least share at which a piecewise straight line is at ``level``; ``None`` where it never is."""
    reached = np.flatnonzero(values >= level - 1e-12)
    if not reached.size:
        return None
    at = int(reached[0])
    if at == 0:
        return float(share[0])
    rise = values[at] - values[at - 1]
    part = min(1.0, (level - values[at - 1]) / rise) if rise > 0 else 1.0
    return float(share[at - 1] + part * (share[at] - share[at - 1]))


def aiq(curve: Curve, weak_cost: float, strong_cost: float) -> float | None:
    """Mean quality over the costs from the small model's to the large one's, on the router's
    non-decreasing convex hull (RouterBench, arXiv:2403.12031). Flat past the hull's ends.

    The same range for all routers of a boundary: they can be compared. ``None`` where it is empty.
    """
    if strong_cost <= weak_cost:
        return None
    cost, quality = _hull(curve.cost, curve.quality)
    inside = cost[(cost > weak_cost) & (cost < strong_cost)]
    grid = np.concatenate([[weak_cost], inside, [strong_cost]])
    return float(np.trapezoid(np.interp(grid, cost, quality), grid) / (strong_cost - weak_cost))


def _hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The upper convex hull of points, up to the best one: cost and quality, both rising."""
    order = np.lexsort((-quality, cost))
    cost, quality = cost[order], quality[order]
    best = np.maximum.accumulate(quality)
    # only points better than all cheaper ones can be corners
    rising = np.append(True, quality[1:] > best[:-1])
    corners: list[tuple[float, float]] = []
    for x, y in zip(cost[rising].tolist(), quality[rising].tolist(), strict=True):
        while len(corners) > 1 and _below(corners[-2], corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    xs, ys = np.array(corners, np.float64).T
    return xs, ys


def _below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draws:
    """The figures of each bootstrap draw; those built on PGR of the draws that have a gap between the models."""

    gap_may_be_none: bool
    apgr_area: list[float]
    apgr_mean: list[float]
    cpt50: list[float]
    cpt80: list[float]
    aiq: list[float]

    @classmethod
    def of(cls, data: BoundaryData, resampling: Resampling) -> Self:
        """A curve for each draw: as many running sums as there are draws."""
        order, ends = descending(data.router_score)
        gain = (data.strong_score - data.weak_score)[order]
        extra = (data.up_cost - data.kept_cost)[order]
        base = resampling.means(np.column_stack([data.weak_score, data.kept_cost, data.weak_cost, data.strong_cost]))
        # a NaN score is up at every threshold: no curve of costs begins below it
        first = int(np.isnan(data.router_score[order[0]]))
        found: dict[str, list[float]] = {name: [] for name in ("apgr_area", "apgr_mean", "cpt50", "cpt80", "aiq")}
        for draw, counts in enumerate(resampling.counts):
            drawn = counts[order]
            share, gained, dearer = (
                np.append(0.0, np.cumsum(drawn * each, dtype=np.float64)[ends - 1] / len(data))
                for each in (1.0, gain, extra)
            )
            weak, kept_cost, weak_cost, strong_cost = base[draw].tolist()
            of_draw = Curve(thresholds=share, share=share, quality=weak + gained, cost=kept_cost + dearer)
            if (area := aiq(of_draw.from_point(first), weak_cost, strong_cost)) is not None:
                found["aiq"].append(area)
            if gained[-1] > 1e-12:
                pgr = gained / gained[-1]
                found["apgr_area"].append(float(np.trapezoid(pgr, share)))
                found["apgr_mean"].append(float(np.interp(CALL_BUDGETS, share, pgr).mean()))
                found["cpt50"].append(first_reach(share, pgr, 0.5) or 0.0)
                found["cpt80"].append(first_reach(share, pgr, 0.8) or 0.0)
        return cls(gap_may_be_none=len(found["apgr_area"]) < 0.975 * len(resampling.counts), **found)


def _interval(draws: list[float], value: float | None, prompts: int) -> Interval | None:
    """Of a figure between 0 and 1, by its draws; ``None`` where it is undefined."""
    if value is None or not draws:
        return None
    return widened(percentile_interval(np.array(draws)), value, prompts, min(0.0, value), max(1.0, value))
