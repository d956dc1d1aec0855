"""An interval, and those of shares and percentiles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from engine import wilson_interval
from engine.cascade.reporting.intervals import clopper_pearson

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
ENOUGH = 50
"""Prompts, or groups of them, from which on intervals that hold for many are used; below it exact ones."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true value lies, as far as the prompts can tell."""

    low: float
    high: float
    level: float
    """How often such an interval holds the true value; each end alone is a bound at :attr:`one_sided`."""
    method: str
    """How it was made, in words."""

    @property
    def one_sided(self) -> float:
        """How often the true value lies above ``low``, and how often below ``high``."""
        return (1 + self.level) / 2

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def two_sided(level: float) -> float:
    """The level of the two-sided interval whose ends are one-sided bounds at ``level``: 0.9 for 0.95.

    Raises:
        ValueError: ``level`` is not above 0.5 and below 1.
    """
    if not 0.5 < level < 1:
        raise ValueError(f"a one-sided level of {level} is not between 0.5 and 1")
    return 2 * level - 1


def share_interval(hits: int, total: int, level: float = LEVEL) -> Interval:
    """Of a share: Wilson's score interval, and Clopper's and Pearson's exact one of fewer than :data:`ENOUGH`.

    Raises:
        ValueError: ``hits`` of ``total`` is no share, or the level is not between 0 and 1.
    """
    if total < ENOUGH:
        return Interval(*clopper_pearson(hits, total, level), level, "exact binomial interval (Clopper and Pearson)")
    return Interval(*wilson_interval(hits, total, level), level, "Wilson's score interval")


def quantile_interval(values: npt.ArrayLike, share: float, level: float = LEVEL) -> Interval:
    """Of a percentile: two of the sorted values, by the distribution of how many lie below it, which is binomial
    whatever theirs is (David and Nagaraja, Order Statistics, 7.1). Of :data:`ENOUGH` values and more the places are
    fractional, with straight lines between values (Hutson, J. Appl. Stat. 26, 1999); of fewer they are rounded
    outwards, which is exact.

    Args:
        values: ``[values]``, at least one, each of its own prompt.
        share: of the values that lie below the percentile: 0.95 for p95.
        level: as in :class:`Interval`.

    Returns:
        An end is infinite where so few values show none: p95 has an upper one from 72 values on, at 95 %.

    Raises:
        ValueError: there are no values, or a share or level is not between 0 and 1.
    """
    found = np.sort(np.asarray(values, np.float64))
    count, tail = len(found), (1 - level) / 2
    if not count or not 0 < share < 1 or not 0 < level < 1:
        raise ValueError(f"no interval of the share {share} of {count} values at a level of {level}")
    low, high = _place(count, share, 1 - tail), _place(count, share, tail)
    method = "fractional order statistics"
    if count < ENOUGH:
        low, high, method = math.floor(low), math.ceil(high), "order statistics, exact"
    places = np.arange(1, count + 1)
    return Interval(
        float(np.interp(low, places, found)) if low >= 1 else -math.inf,
        float(np.interp(high, places, found)) if high <= count else math.inf,
        level,
        method,
    )


@lru_cache(maxsize=256)
def _place(count: int, share: float, chance: float) -> float:
    """The place (from 1) of the sorted value that lies below the percentile with a chance: r of I(share; r, n + 1 − r),
    the regularized incomplete beta function."""
    from scipy.special import betainc

    low, high = 0.0, count + 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if betainc(middle, count + 1 - middle, share) > chance else (low, middle)
    return (low + high) / 2


_HALVINGS = 40
