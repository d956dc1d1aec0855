"""Means over prompts, in groups or not, and their intervals.

* **BCa bootstrap** (Efron, J. Am. Stat. Assoc. 82, 1987) from 50 groups on: whole groups are drawn, the jackknife over
  groups gives the acceleration, and levels are expanded as a t interval's are (Hesterberg, Am. Stat. 69, 2015). Of the
  two, Student's interval errs where differences are skewed and BCa where most are 0 and the rest go both ways (91 % at
  50 prompts): each end is the farther one of both, which holds the true value in 94 to 97 % of simulations.
* **Student's interval of the effective sample size** of values that cannot leave a range, where prompts are in fewer
  groups, or nearly all groups are equal and a bootstrap could draw nothing else
  (:mod:`~app.experiments.statistics.effective`).
* **Gaffke's bound** of such values where prompts or groups are too few for that: it holds at any number, and is never
  of zero width (Learned-Miller and Thomas, arXiv:1905.06208; for values of two kinds it is Clopper's and Pearson's).
  That it holds in general is conjectured, and no counterexample is known.
* **Student's** interval of values without a range, for fewer groups: exact where they are normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from app.experiments.statistics.effective import EffectiveSample
from app.experiments.statistics.intervals import ENOUGH, LEVEL, Floats, Interval
from engine.cascade.reporting.intervals import Resampling

DRAWS = 2000
_GAFFKE_DRAWS = 20_000
_GAFFKE_WEIGHTS = 200_000
"""At most in all draws of many values that are not kept, which may then be fewer."""
_FEW_OTHERS = 4
"""Groups unlike the rest below which a bootstrap's draws are too coarse."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Values of prompts, summed by group. The mean is over prompts: a group of ten weighs ten times one of one."""

    sums: Floats
    """``[groups]``."""
    sizes: Floats
    """Prompts in each, ``[groups]``."""

    @classmethod
    def of(cls, values: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> Self:
        """Sum ``values [prompts]`` by the labels ``groups [prompts]``; without labels each prompt is its own group.

        Raises:
            ValueError: there are no values, one is not a number, or there are not as many labels.
        """
        found = np.asarray(values, np.float64)
        if not len(found) or not np.isfinite(found).all():
            raise ValueError(f"a mean needs numbers, and at least one: {len(found)} given")
        if groups is None:
            return cls(found, np.ones(len(found)))
        labels = np.asarray(groups)
        if len(labels) != len(found):
            raise ValueError(f"{len(found)} values have {len(labels)} groups")
        _, codes = np.unique(labels, return_inverse=True)
        sums, sizes = (np.bincount(codes, each).astype(np.float64) for each in (found, np.ones(len(found))))
        return cls(sums, sizes)

    @classmethod
    def pooled(cls, sums: npt.ArrayLike, sizes: npt.ArrayLike, groups: npt.ArrayLike) -> Self:
        """Of prompts with several values each, such as one a token: the mean is over values, and what is drawn are
        groups of prompts.

        Args:
            sums: of each prompt's values, ``[prompts]``, at least one.
            sizes: how many they are, ``[prompts]``, each above 0.
            groups: labels ``[prompts]``.
        """
        _, codes = np.unique(np.asarray(groups), return_inverse=True)
        by_group = (np.bincount(codes, np.asarray(each, np.float64)).astype(np.float64) for each in (sums, sizes))
        return cls(*by_group)

    def __len__(self) -> int:
        return len(self.sums)

    @property
    def prompts(self) -> int:
        """How many there are in all groups."""
        return int(self.sizes.sum())

    @property
    def alone(self) -> bool:
        """Whether every prompt is a group of its own."""
        return self.prompts == len(self)

    @property
    def mean(self) -> float:
        """Over prompts."""
        return float(self.sums.sum()) / float(self.sizes.sum())

    @property
    def shares(self) -> Floats:
        """What each group adds to the mean, times the number of groups, ``[groups]``: their plain mean is the mean."""
        return np.asarray(self.sums * (len(self) / self.sizes.sum()), np.float64)

    @property
    def standard_error(self) -> float:
        """Of the mean, by the jackknife over groups; infinite for a single group."""
        if len(self) == 1:
            return math.inf
        left_out = self.without_one()
        return float(math.sqrt((len(self) - 1) / len(self) * ((left_out - left_out.mean()) ** 2).sum()))

    @property
    def few_differ(self) -> bool:
        """Whether so few groups have another mean than most that a bootstrap would hardly draw them."""
        _, counts = np.unique(np.round(self.sums / self.sizes, 12), return_counts=True)
        return len(self) - int(counts.max()) < _FEW_OTHERS

    def without_one(self) -> Floats:
        """The mean without each of the groups, at least two, ``[groups]``."""
        left: Floats = (self.sums.sum() - self.sums) / (self.sizes.sum() - self.sizes)
        return left


def mean_interval(
    values: npt.ArrayLike | Grouped,
    groups: npt.ArrayLike | None = None,
    level: float = LEVEL,
    within: tuple[float, float] | None = None,
) -> Interval | None:
    """Of a mean over prompts: whichever of those at the top fits.

    Args:
        values: ``[prompts]``, or already grouped.
        groups: labels ``[prompts]``.
        level: as in :class:`Interval`.
        within: the least and the most that any value can be; ``None`` where there is no such range.

    Returns:
        Never of zero width. ``None`` for values without a range that show no spread: one group, or all equal. They
        tell nothing about other prompts.

    Raises:
        ValueError: as :meth:`Grouped.of`.
    """
    grouped = values if isinstance(values, Grouped) else Grouped.of(values, groups)
    if within is not None and (len(grouped) < ENOUGH or grouped.few_differ):
        if not isinstance(values, Grouped) and (sample := EffectiveSample.of(values, groups)) is not None:
            return sample.interval(within, level)
        return gaffke_interval(grouped, within, level)
    error = grouped.standard_error
    if not math.isfinite(error) or error <= 1e-12 * abs(grouped.mean):
        return None
    student = student_interval(grouped, level)
    if len(grouped) < ENOUGH:
        return student
    bca = bca_interval(grouped, level)
    method = f"{bca.method}, no narrower than Student's interval"
    return Interval(min(bca.low, student.low), max(bca.high, student.high), level, method)


def student_interval(grouped: Grouped, level: float = LEVEL) -> Interval:
    """Of the mean of two groups or more, by the jackknife's standard error and Student's t."""
    from scipy.special import stdtrit

    half = float(stdtrit(len(grouped) - 1, (1 + level) / 2)) * grouped.standard_error
    return Interval(grouped.mean - half, grouped.mean + half, level, f"Student's interval{_over(grouped)}")


def bca_interval(grouped: Grouped, level: float = LEVEL) -> Interval:
    """The expanded BCa bootstrap interval of the mean of two groups or more that differ."""
    draws = _draws(grouped)
    low, high = bca_bounds(grouped.mean, draws, grouped.without_one(), level)
    return Interval(low, high, level, f"BCa bootstrap, {len(draws):,} draws{_over(grouped)}")


def bca_bounds(value: float, draws: Floats, left_out: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The expanded BCa bounds of any figure.

    Args:
        value: the figure.
        draws: the figure of each draw, ``[draws]``.
        left_out: the figure without each of the groups, at least two, ``[groups]``; not all equal.
        level: as in :class:`Interval`.
    """
    from scipy.special import ndtr, ndtri, stdtrit

    below = np.mean(draws < value) + np.mean(draws == value) / 2
    bias = float(ndtri(np.clip(below, 1 / len(draws), 1 - 1 / len(draws))))
    influence, count = left_out.mean() - left_out, len(left_out)
    acceleration = float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))
    expanded = math.sqrt(count / (count - 1)) * float(stdtrit(count - 1, (1 + level) / 2))
    shifted = bias + np.array([-expanded, expanded])
    low, high = np.quantile(draws, ndtr(bias + shifted / (1 - acceleration * shifted)))
    return float(low), float(high)


def gaffke_interval(grouped: Grouped, within: tuple[float, float], level: float = LEVEL) -> Interval:
    """Of the mean of values within a range: weigh them by chance (exponential weights), with one more that is as low,
    or as high, as any could be, and take the quantile. Of many, equal values are weighed together."""
    if len(grouped) < ENOUGH:
        weights, values = _weights(len(grouped)), grouped.shares
    else:
        values, counts = np.unique(grouped.shares, return_counts=True)
        weights = _shares_by_chance(counts, min(_GAFFKE_DRAWS, _GAFFKE_WEIGHTS // len(values)))
    means, other = weights[:, :-1] @ values, weights[:, -1]
    largest = float(grouped.sizes.max() * len(grouped) / grouped.sizes.sum())
    tail = (1 - level) / 2
    low = float(np.quantile(means + other * within[0] * largest, tail))
    high = float(np.quantile(means + other * within[1] * largest, 1 - tail))
    return Interval(
        max(within[0], low), min(within[1], high), level, f"Gaffke's bound, for few that differ{_over(grouped)}"
    )


@lru_cache(maxsize=8)
def _weights(groups: int) -> Floats:
    """Of so few groups and one more: drawing them costs ten times what weighing with them does. 64 MB are kept at
    most."""
    return _shares_by_chance(np.ones(groups), _GAFFKE_DRAWS)


def _shares_by_chance(counts: npt.NDArray[Any], draws: int) -> Floats:
    """How much so many values weigh together, and one more, in the last column: exponential weights as shares of all,
    ``[draws, values + 1]``."""
    rng = np.random.default_rng(int(counts.sum()))
    weights = rng.standard_gamma([*counts, 1], (draws, len(counts) + 1))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _draws(grouped: Grouped) -> Floats:
    """Means of groups drawn with replacement, ``[draws]``."""
    drawn = resampling(len(grouped))
    if grouped.alone:
        return drawn.means(grouped.sums[:, None])[:, 0]
    sums, sizes = drawn.means(np.column_stack([grouped.sums, grouped.sizes])).T
    return np.asarray(sums / sizes, np.float64)


def resampling(groups: int) -> Resampling:
    """One for all figures of as many groups: drawing costs more than averaging. Of the whole, whose scores and KLD are
    of different prompts, and of its slices some 80 and 130 MB are kept at most."""
    return (_of_slices if groups <= _SLICE else _of_all)(groups)


def _drawn(groups: int) -> Resampling:
    return Resampling.of(groups, draws=DRAWS)


_SLICE = 500
_of_slices = lru_cache(maxsize=32)(_drawn)
_of_all = lru_cache(maxsize=2)(_drawn)


def _over(grouped: Grouped) -> str:
    return "" if grouped.alone else f", over {len(grouped):,} groups"
