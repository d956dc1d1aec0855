"""How far a figure may be off: paired bootstrap over prompts, exact binomial bounds.

scipy is imported where it is used: a page that only shows stored figures does not pay for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from engine.cascade.scores import Floats

DRAWS = 1000
CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 100

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Resampling:
    """Bootstrap draws of some prompts: how often each prompt is in each draw.

    They depend on the number of prompts and the seed alone, so that one of these serves every threshold:
    a slider pays for one matrix product.
    """

    counts: npt.NDArray[np.float32]
    """``[draws, prompts]``; each row sums to the number of prompts."""

    @classmethod
    def of(cls, prompts: int, seed: int = 0, draws: int = DRAWS) -> Self:
        """``draws`` times ``prompts`` prompts, drawn with replacement."""
        rng = np.random.default_rng(seed)
        counts = np.empty((draws, prompts), np.float32)
        for start in range(0, draws, _DRAWS_AT_ONCE):
            rows = min(_DRAWS_AT_ONCE, draws - start)
            drawn = rng.integers(0, prompts, (rows, prompts), np.int32)
            drawn += np.arange(rows, dtype=np.int32)[:, None] * prompts
            counts[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * prompts).reshape(rows, prompts)
        return cls(counts)

    def means(self, values: Floats) -> Floats:
        """Each draw's means of ``values [prompts, columns]``: ``[draws, columns]``.

        Columns of one prompt stay together: differences and ratios of them are paired.
        """
        centre = values.mean(axis=0)
        # single precision carries only the deviations from the mean
        deviations = self.counts @ (values - centre).astype(np.float32) / len(values)
        return np.asarray(deviations + centre, np.float64)


def percentile_interval(draws: Floats, confidence: float = CONFIDENCE) -> Interval:
    """The percentile bootstrap interval of a statistic's draws ``[draws]``."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def clopper_pearson(hits: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact binomial interval of a share (Clopper and Pearson, Biometrika 26, 1934).

    Raises:
        ValueError: ``hits`` of ``total`` is no share, or the confidence is not between 0 and 1.
    """
    tail = (1 - confidence) / 2
    return 1 - upper_bound(total - hits, total, tail), upper_bound(hits, total, tail)


def upper_bound(hits: int, total: int, delta: float) -> float:
    """The exact upper bound of a share that is too low with probability ``delta`` at most.

    Raises:
        ValueError: ``hits`` of ``total`` is no share, or ``delta`` is not between 0 and 1.
    """
    if not 0 <= hits <= total or total < 1:
        raise ValueError(f"{hits} of {total} is no share")
    if not 0 < delta < 1:
        raise ValueError(f"a probability of {delta} is not between 0 and 1")
    from scipy.special import betaincinv

    return 1.0 if hits == total else float(betaincinv(hits + 1, total - hits, 1 - delta))


def binomial_p_value(hits: npt.NDArray[np.intp], total: int, risk: float) -> Floats:
    """P(Bin(total, risk) ≤ hits): a valid p-value for "the true share is above ``risk``", ``[hits]``."""
    from scipy.special import bdtr

    return np.asarray(bdtr(np.asarray(hits, np.float64), total, risk), np.float64)


def prompts_to_certify(share: float, risk: float, delta: float, most: int = 10_000_000) -> int | None:
    """How many prompts show that a share is at most ``risk``, if ``share`` of them are hits.

    The least n with P(Bin(n, risk) ≤ share·n) ≤ delta; ``None`` where ``share`` is not below ``risk``, or
    more than ``most`` would be needed.
    """

    def shown(prompts: int) -> bool:
        return float(binomial_p_value(np.array(math.ceil(share * prompts)), prompts, risk)) <= delta

    if share >= risk:
        return None
    high = 1
    while not shown(high):
        if high > most:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high
