"""How far a figure may be off: exact bounds of counts, score and Student intervals of means and ratios, paired
bootstrap where there is no formula.

No interval is ever of zero width because the prompts happened not to differ: :func:`widened` says what prompts of a
kind that was not met could change (the rule of three).

scipy is imported where it is used: a page that only shows stored figures does not pay for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from engine.cascade.routing.scores import Floats

DRAWS = 1000
CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 100
_HALVINGS = 60

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


def unseen_share(prompts: float, confidence: float = CONFIDENCE) -> float:
    """How often a kind of prompt may come that none of these was, at most: about 3.7 / prompts (the rule of three,
    two-sided)."""
    return float(1 - ((1 - confidence) / 2) ** (1 / prompts))


def widened(interval: Interval, value: float, prompts: int, least: float, most: float) -> Interval:
    """An interval that leaves room for prompts of a kind not met, each between ``least`` and ``most``."""
    unseen = unseen_share(prompts)
    low, high = value - unseen * (value - least), value + unseen * (most - value)
    return min(interval[0], low), max(interval[1], high)


def mean_interval(values: Floats, least: float, most: float) -> Interval:
    """Student's interval of a mean of values ``[prompts]``, with room for unmet ones between ``least`` and ``most``."""
    mean = float(values.mean())
    spread = _student(len(values)) * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return widened((mean - spread, mean + spread), mean, len(values), least, most)


def ratio_interval(over: Floats, under: Floats, least: float, most: float) -> Interval | None:
    """Fieller's interval of mean(over) / mean(under), paired by prompt, ``[prompts]`` each; ``None`` where the
    denominator may be 0, which leaves no interval.

    Args:
        over: the numerator's values.
        under: the denominator's; their mean is above 0.
        least: the ratio that a prompt of a kind not met may have.
        most: the same at the other end.
    """
    n, mean_over, mean_under = len(over), float(over.mean()), float(under.mean())
    ratio = mean_over / mean_under
    if n == 1:
        return widened((ratio, ratio), ratio, n, least, most)
    factor = _student(n) ** 2 / n
    square = mean_under**2 - factor * float(under.var(ddof=1))
    if square <= 0:
        return None
    cross = mean_over * mean_under - factor * float(np.cov(over, under)[0, 1])
    root = math.sqrt(max(0.0, cross**2 - square * (mean_over**2 - factor * float(over.var(ddof=1)))))
    return widened(((cross - root) / square, (cross + root) / square), ratio, n, least, most)


def kept_interval(kept: Floats, reference: Floats) -> Interval:
    """The 95 % interval of mean(kept) / mean(reference), scores from 0 to 1 of the same prompts: the score interval of
    a ratio of paired proportions (Nam and Blackwelder, Statistics in Medicine 21, 2002). Scores that are neither right
    nor wrong count in part, which makes it wider than need be.

    Args:
        kept: ``[prompts]``.
        reference: ``[prompts]``, some above 0.
    """
    both, more, less = np.minimum(kept, reference), kept - reference, reference - kept
    low, high = kept_bounds(*(np.array(each.clip(0).sum()) for each in (both, more, less)))
    return float(low), float(high)


def kept_bounds(both: Floats, gained: Floats, lost: Floats) -> tuple[Floats, Floats]:
    """The bounds of (both + gained) / (both + lost) for counts of prompts of any shape: those that both got right, the
    kept answers alone, the reference alone; both + lost is above 0."""
    from scipy.special import ndtri

    z = float(ndtri((1 + CONFIDENCE) / 2))
    estimate = (both + gained) / (both + lost)
    low, above = np.zeros_like(estimate), estimate
    for _ in range(_HALVINGS):
        middle = (low + above) / 2
        beyond = _kept_score(both, gained, lost, middle) > z
        low, above = np.where(beyond, middle, low), np.where(beyond, above, middle)
    # past this ratio the score is beyond z whatever the counts
    high, below = 4 * (estimate + 1) * (1 + z**2) * (1 + gained + lost), estimate
    for _ in range(_HALVINGS):
        middle = (high + below) / 2
        beyond = _kept_score(both, gained, lost, middle) < -z
        high, below = np.where(beyond, middle, high), np.where(beyond, below, middle)
    return low, high


def _kept_score(both: Floats, gained: Floats, lost: Floats, ratio: Floats) -> Floats:
    """How many standard errors the counts lie from a ratio, under the likeliest probabilities that have it.

    With N = both + gained + lost and p = u·N of them right by the reference, the likelihood under that ratio has its
    maximum at the smaller root u of a quadratic; the variance of (both + gained) − ratio·(both + lost) is then
    ratio·(expected gained + expected lost).
    """
    ratio = np.maximum(ratio, 1e-12)
    n = both + gained + lost
    square = ratio * (1 + ratio) * n
    linear = both * (1 + ratio) ** 2 + gained * (1 + 2 * ratio) + lost * ratio * (2 + ratio)
    constant = both * (1 + ratio) + gained + lost * ratio
    u = (linear - np.sqrt(np.maximum(linear**2 - 4 * square * constant, 0))) / (2 * square)
    expected = np.maximum(n * (1 - u), 0) + np.maximum(n * (1 - ratio * u), 0)
    score: Floats = (both + gained - ratio * (both + lost)) / np.sqrt(np.maximum(ratio * expected, 1e-12))
    return score


def _student(prompts: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(prompts - 1, (1 + CONFIDENCE) / 2))


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
