"""What the scores of two configurations on the same prompts differ by: candidate − baseline, each score from 0 to 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.experiments.statistics.effective import EffectiveSample
from app.experiments.statistics.intervals import ENOUGH, LEVEL, Floats, Interval
from app.experiments.statistics.means import Grouped, mean_interval
from engine import PairedOutcomes

_HALVINGS = 36
_FLIPS = 2000
_FLIPPED_AT_ONCE = 500


def difference_interval(
    differences: npt.ArrayLike, groups: npt.ArrayLike | None = None, level: float = LEVEL
) -> Interval:
    """Of the mean difference of paired scores: Tango's where answers are right or wrong, of at least 50 prompts on
    their own, or of the effective sample size of prompts in few groups; else that of a mean between −1 and 1
    (:func:`mean_interval`). Never of zero width.

    Args:
        differences: candidate − baseline, ``[prompts]``.
        groups: labels ``[prompts]``.
        level: as in :class:`Interval`.

    Raises:
        ValueError: as :meth:`Grouped.of`, or a difference is not between −1 and 1.
    """
    grouped = _checked(differences, groups)
    if grouped.alone and len(grouped) >= ENOUGH and are_flips(grouped.sums):
        low, high = tango_bounds((grouped.sums > 0).sum(), (grouped.sums < 0).sum(), len(grouped), level)
        return Interval(float(low), float(high), level, "Tango's score interval")
    few = len(grouped) < ENOUGH or grouped.few_differ
    if few and (sample := EffectiveSample.of(differences, groups)) is not None and are_flips(sample.values):
        share = sample.prompts(level) / len(sample.values)
        gained, lost = share * (sample.values > 0).sum(), share * (sample.values < 0).sum()
        low, high = tango_bounds(gained, lost, sample.prompts(level), level)
        return Interval(float(low), float(high), level, f"Tango's score interval, {sample.in_words(level)}")
    found = mean_interval(differences, groups, level, within=(-1, 1))
    assert found is not None  # what has a range always has an interval
    return found


def too_few_groups(differences: npt.ArrayLike, groups: npt.ArrayLike | None) -> bool:
    """Whether prompts share groups, and these are so few that only a bound that reaches nearly everywhere holds."""
    grouped = _checked(differences, groups)
    return not grouped.alone and len(grouped) < ENOUGH and EffectiveSample.of(differences, groups) is None


def difference_p_value(differences: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> float:
    """How often so large a mean difference would come about if candidate and baseline were alike: McNemar's exact test
    where prompts are right or wrong, each on its own; else Fisher's randomization of signs, a group's together (The
    Design of Experiments, 1935), of 2,000 draws or of all where they are fewer.

    Raises:
        ValueError: as :func:`difference_interval`.
    """
    grouped = _checked(differences, groups)
    gained, lost = int((grouped.sums > 0).sum()), int((grouped.sums < 0).sum())
    if grouped.alone and are_flips(grouped.sums):
        return PairedOutcomes(both_right=len(grouped) - gained - lost, lost=lost, gained=gained, both_wrong=0).p_value
    sums = grouped.sums[grouped.sums != 0]
    seen = abs(float(sums.sum())) * (1 - 1e-6)  # ties, in single precision
    if 2 ** len(sums) <= _FLIPS:
        signs = 1 - 2.0 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float(np.mean(np.abs(signs @ sums) >= seen))
    rng = np.random.default_rng(len(sums))
    beyond = 0
    for _ in range(_FLIPS // _FLIPPED_AT_ONCE):
        bits = np.unpackbits(rng.integers(0, 256, (_FLIPPED_AT_ONCE, -(-len(sums) // 8)), np.uint8), axis=1)
        drawn = bits[:, : len(sums)].astype(np.float32) @ (2 * sums).astype(np.float32) - sums.sum()
        beyond += int((np.abs(drawn) >= seen).sum())
    return (1 + beyond) / (1 + _FLIPS)


def are_flips(differences: Floats) -> bool:
    """Whether all are −1, 0 or 1, as those of right and wrong answers are."""
    return bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())


def tango_bounds(
    gained: npt.ArrayLike, lost: npt.ArrayLike, prompts: npt.ArrayLike, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """The score interval of (gained − lost) / prompts of paired right and wrong answers (Tango, Statistics in Medicine
    17, 1998): the differences that the counts lie within z standard errors of, under the likeliest probabilities that
    have them.

    Args:
        gained: prompts that the candidate alone got right; any shape.
        lost: those that the baseline alone got right.
        prompts: all of them.
        level: as in :class:`Interval`.
    """
    from scipy.special import ndtri

    z = float(ndtri((1 + level) / 2))
    more, less, n = np.broadcast_arrays(*(np.asarray(each, np.float64) for each in (gained, lost, prompts)))
    # both ends at once: the lower one with the score z, the upper one with −z
    inside = np.stack([(more - less) / n] * 2)
    outside, sign = np.ones_like(inside), np.ones_like(inside)
    outside[0], sign[1] = -1, -1
    for _ in range(_HALVINGS):
        middle = (outside + inside) / 2
        beyond = sign * _tango_score(more, less, n, middle) > z
        outside, inside = np.where(beyond, middle, outside), np.where(beyond, inside, middle)
    return outside[0], outside[1]


def _tango_score(gained: Floats, lost: Floats, n: Floats, difference: Floats) -> Floats:
    """T(δ) = (b − c − nδ) / √(n(2q + δ(1 − δ))), where q is the likeliest probability of a lost answer if the
    difference is δ: the larger root of 2n·q² + (2nδ − b − c − (b − c)δ)·q − cδ(1 − δ)."""
    linear = -gained - lost + (2 * n - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    q = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    score: Floats = (gained - lost - n * difference) / np.sqrt(np.maximum(variance, 1e-12))
    return score


def _checked(differences: npt.ArrayLike, groups: npt.ArrayLike | None) -> Grouped:
    found = np.asarray(differences, np.float64)
    if (np.abs(found) > 1).any():
        raise ValueError("a difference of scores is between −1 and 1")
    return Grouped.of(found, groups)
