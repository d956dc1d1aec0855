"""Whether a chosen threshold keeps what it promises, and whether the interval that is reported holds the truth.

Recorded prompts are the population. Samples are drawn from it with replacement; each is halved, one half chooses a
threshold and the other reports, as the Router lab does. The truth is that threshold's figure over the population.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.cascade import BoundaryData, KeepQuality, SpendAtMost, halves
from engine.cascade.choosing.selection import choose
from engine.cascade.reporting.boundary import Curve
from engine.cascade.reporting.figures import cost_share_of
from engine.cascade.reporting.intervals import kept_bounds
from tests.benchmarks.table import Row

SIZES = (30, 60, 100, 200, 400)
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class _Truth:
    """What every threshold gives over the population, of the large model's: a lookup by threshold."""

    scores: np.ndarray
    quality: np.ndarray
    cost: np.ndarray

    @classmethod
    def of(cls, data: BoundaryData) -> _Truth:
        curve = Curve.of(data)
        # from the lowest threshold up: a threshold sends up what the next score at or above it sends up
        return cls(
            curve.thresholds[::-1],
            curve.quality[::-1] / data.strong_score.mean(),
            curve.cost[::-1] / data.strong_cost.mean(),
        )

    def at(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.minimum(np.searchsorted(self.scores, thresholds), len(self.scores) - 1)
        return self.quality[rows], self.cost[rows]


def run(title: dict[str, str], population: BoundaryData, target: KeepQuality | SpendAtMost) -> list[Row]:
    """A row for each size of sample."""
    truth = _Truth.of(population)
    return [{**title, **_row(population, truth, target, size)} for size in (*SIZES, len(population))]


def _kept(target: KeepQuality | SpendAtMost, quality: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Whether figures over the population are what was promised."""
    if isinstance(target, KeepQuality):
        return np.asarray(quality >= target.share - 1e-9)
    return np.asarray(cost <= target.share + 1e-9)


def _row(population: BoundaryData, truth: _Truth, target: KeepQuality | SpendAtMost, size: int) -> Row:
    rng = np.random.default_rng(size)
    naive, safe, counts, costs = np.empty(DRAWS), np.full(DRAWS, np.nan), np.empty((DRAWS, 3)), np.empty((DRAWS, 3))
    for draw in range(DRAWS):
        drawn = population.rows(rng.integers(0, len(population), size))
        names = tuple(map(str, range(size)))  # each drawn prompt counts as one of its own
        calibration, test = halves(replace(drawn, ids=names, texts=names))
        choice = choose(calibration, target)
        naive[draw], safe[draw] = choice.naive, np.nan if choice.safe is None else choice.safe
        up = test.up(choice.threshold)
        kept, strong = test.quality(up), test.strong_score
        counts[draw] = [
            each.sum() for each in (np.minimum(kept, strong), (kept - strong).clip(0), (strong - kept).clip(0))
        ]
        cost = cost_share_of(test.cost(up), test.strong_cost)
        costs[draw] = (np.nan,) * 3 if cost is None else (cost.value, cost.low, cost.high)
    shown = ~np.isnan(safe)
    quality, cost = truth.at(np.where(shown, safe, naive))
    naive_quality, naive_cost = truth.at(naive)
    reported = counts[:, 0] + counts[:, 2] > 0
    low, high = kept_bounds(*counts[reported].T)
    inside = (low <= quality[reported] + 1e-9) & (quality[reported] <= high + 1e-9)
    keeps = _kept(target, quality, cost)
    return {
        "sample": size,
        "quality interval holds truth": _percent(inside),
        "time interval holds truth": _percent((costs[:, 1] <= cost) & (cost <= costs[:, 2])),
        "promise made": _percent(shown),
        "made and kept": _percent(keeps[shown]),
        "kept, of all (large alone where none)": _percent(keeps | ~shown),
        "naive keeps": _percent(_kept(target, naive_quality, naive_cost)),
        "time, safe (large alone where none)": _percent(np.where(shown, cost, 1.0)),
        "quality, safe where made": _percent(quality[shown]),
        "quality, naive there": _percent(naive_quality[shown]),
        "time, safe where made": _percent(cost[shown]),
        "time, naive there": _percent(naive_cost[shown]),
        "threshold, safe": _mean(safe[shown]),
        "threshold, naive there": _mean(naive[shown]),
    }


def _percent(values: np.ndarray) -> str | None:
    return f"{values.mean():.1%}" if values.size else None


def _mean(values: np.ndarray) -> str | None:
    return f"{values.mean():.3f}" if values.size else None
