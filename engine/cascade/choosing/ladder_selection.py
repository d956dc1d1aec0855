"""Pick the thresholds of a ladder for me: both at once, on the half that chooses; the other half reports.

The naive pair is the best of all pairs on a grid. Which pairs are certified is tested along a few paths that only the
router's scores lay down, not how right answers are: each lets more prompts stay, in a fixed proportion at the two
boundaries, and has its share of the confidence (fixed-sequence testing, Bonferroni over the paths).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.cascade.choosing.certificates import p_values_of, prompts_needed_of
from engine.cascade.choosing.selection import half_rows, rounded
from engine.cascade.reporting.boundary import BoundaryData
from engine.cascade.reporting.intervals import binomial_p_value
from engine.cascade.reporting.ladder_figures import LadderFigures, Way
from engine.cascade.routing.promise import KeepQuality, Promise, RiskAtMost, SpendAtMost, Target, promise_of
from engine.cascade.routing.scores import Bools, Floats, needs_larger
from engine.types import NEVER

PATHS = ((1.0, 0.0), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0))
"""At each step s, the shares of scores below the two thresholds: so many times s."""
_STEPS = 40
_TINY = 1e-12

Thresholds = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderSelection:
    """Thresholds picked on one half of the prompts, and what they give on the other."""

    target: Target
    prompts: int
    """Of both halves; a single prompt, however often it is there, chooses and reports."""
    promise: Promise
    thresholds: Thresholds
    """The safe ones, or the naive ones in their stead where nothing that saves is certified."""
    naive_thresholds: Thresholds
    saves: bool
    """Whether the naive ones cost less than the largest tier alone, on the half that chose."""
    calibration: LadderFigures
    test: LadderFigures
    naive: LadderFigures
    """The naive ones on the half that reports."""


def select_ladder(boundaries: Sequence[BoundaryData], target: Target, seed: int = 0) -> LadderSelection:
    """Pick both thresholds of a ladder of three tiers.

    Args:
        boundaries: the lower and the upper one, on the same prompts in the same order.
        target: of the largest tier's score or cost.
        seed: of the halves.

    Raises:
        ValueError: the boundaries are of other prompts.
    """
    chosen_on, reports = half_rows(boundaries[0], seed)
    calibration, test = ([boundary.rows(rows) for boundary in boundaries] for rows in (chosen_on, reports))
    grid = [(low, high) for low in _grid(calibration[0]) for high in _grid(calibration[1])]
    found = _Found.of(calibration, grid)
    large = float(calibration[-1].strong_cost.mean())
    naive = _best(found, np.asarray(_means(found, target) >= -_TINY), target)
    safe = _certified(calibration, target)
    more = None if safe is not None else _more_prompts(found, target, large - found.cost.mean(axis=0), naive)
    thresholds = grid[naive] if safe is None else safe
    return LadderSelection(
        target=target,
        prompts=len(boundaries[0]),
        promise=promise_of(target, shown=safe is not None, more_prompts=None if more is None else rounded(2 * more)),
        thresholds=thresholds,
        naive_thresholds=grid[naive],
        saves=bool(found.cost[:, naive].mean() < large - _TINY),
        calibration=LadderFigures.of(calibration, thresholds),
        test=LadderFigures.of(test, thresholds),
        naive=LadderFigures.of(test, grid[naive]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What pairs of thresholds give: ``[prompts, pairs]``, and the largest tier's ``[prompts, 1]``."""

    quality: Floats
    cost: Floats
    strong: Floats
    large: Floats

    @classmethod
    def of(cls, boundaries: Sequence[BoundaryData], pairs: Sequence[Thresholds]) -> _Found:
        ways = [Way.of(boundaries, pair) for pair in pairs]
        return cls(
            quality=np.column_stack([way.quality for way in ways]),
            cost=np.column_stack([way.cost for way in ways]),
            strong=boundaries[-1].strong_score[:, None],
            large=boundaries[-1].strong_cost[:, None],
        )


def _values(found: _Found, target: Target) -> Floats:
    """What each prompt adds to the promise at each pair: their mean is to be at least 0."""
    match target:
        case KeepQuality(share):
            return found.quality - share * found.strong
        case SpendAtMost(share):
            return share * found.large - found.cost
        case RiskAtMost(alpha):
            return np.asarray(alpha - needs_larger(found.quality, found.strong), np.float64)


def _means(found: _Found, target: Target) -> Floats:
    return np.asarray(_values(found, target).mean(axis=0))


def _best(found: _Found, met: Bools, target: Target) -> int:
    """The cheapest pair that meets the target; for a budget, the one of the highest quality."""
    cost = found.cost.mean(axis=0)
    if not met.any():
        return int(np.argmin(cost))
    worth = found.quality.mean(axis=0) if isinstance(target, SpendAtMost) else -cost
    return int(np.flatnonzero(met)[np.argmax(worth[met])])


def _grid(boundary: BoundaryData) -> list[float]:
    """Everything up, thresholds at equal shares of the scores, nothing up."""
    known = boundary.router_score[~np.isnan(boundary.router_score)]
    if not known.size:
        return [0.0, NEVER]
    at = np.unique(np.quantile(known, np.linspace(0, 1, _STEPS), method="higher")).tolist()
    return [0.0, *(each for each in at if each > 0), NEVER]


def _certified(boundaries: Sequence[BoundaryData], target: Target) -> Thresholds | None:
    """The best certified pair that costs less than the largest tier alone; ``None`` where there is none."""
    certified: list[Thresholds] = []
    for path in PATHS:
        pairs = _path(boundaries, path)
        if isinstance(target, SpendAtMost):
            pairs.reverse()  # the cheapest are the safest
        rejected = _p_values(_Found.of(boundaries, pairs), target) <= (1 - target.confidence) / len(PATHS)
        certified += pairs[: len(pairs) if rejected.all() else int(np.argmin(rejected))]
    if not certified:
        return None
    found = _Found.of(boundaries, certified)
    saves = found.cost.mean(axis=0) < float(found.large.mean()) - _TINY
    return certified[_best(found, saves, target)] if saves.any() else None


def _path(boundaries: Sequence[BoundaryData], path: Sequence[float]) -> list[Thresholds]:
    """From hardly anybody staying to everybody, or as many as the path lets."""
    known = [boundary.router_score[~np.isnan(boundary.router_score)] for boundary in boundaries]
    steps = np.arange(1, _STEPS + 1) / _STEPS
    return [
        tuple(
            _below(scores, weight * step) if weight and scores.size else 0.0
            for scores, weight in zip(known, path, strict=True)
        )
        for step in steps
    ]


def _below(scores: Floats, share: float) -> float:
    """The threshold below which so many of the scores lie."""
    ordered = np.sort(scores)
    stay = int(share * len(ordered))
    return NEVER if stay >= len(ordered) else float(ordered[stay])


def _p_values(found: _Found, target: Target) -> Floats:
    if isinstance(target, RiskAtMost):
        missed = needs_larger(found.quality, found.strong).sum(axis=0)
        return binomial_p_value(missed, len(found.quality), target.alpha)
    values = _values(found, target)
    return p_values_of(values, _worst(values, target))


def _worst(values: Floats, target: Target) -> float:
    return -target.share if isinstance(target, KeepQuality) else min(0.0, float(np.quantile(values.min(axis=1), 0.1)))


def _more_prompts(found: _Found, target: Target, saved: Floats, naive: int) -> int | None:
    """About how many more would certify a pair that saves half as much as the naive one, if they were like these."""
    if saved[naive] <= _TINY:
        return None
    values = _values(found, target)[:, saved >= saved[naive] / 2]
    delta = (1 - target.confidence) / len(PATHS)
    least = prompts_needed_of(
        values.sum(axis=0), (values**2).sum(axis=0), len(values), _worst(values, target), delta
    ).min()
    return max(1, int(least) - len(values)) if np.isfinite(least) else None
