"""How far a judge can be trusted: its agreement with checkers, thumbs or another judge, and what sways it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.experiments.statistics.intervals import ENOUGH, LEVEL, Floats, Interval, share_interval
from app.experiments.statistics.means import Grouped, bca_bounds, mean_interval, resampling


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two raters' labels of the same answers."""

    answers: int
    agreement: float
    """Share of answers with the same label from both."""
    agreement_interval: Interval
    kappa: float | None
    """Cohen's κ (Educ. Psychol. Meas. 20, 1960): 0 is what chance gives, 1 is always. ``None`` where both gave all
    answers one and the same label, so that chance alone agrees as often."""
    kappa_interval: Interval | None
    """``None`` where κ is, or below 50 answers (or groups of them): too few."""


@dataclass(frozen=True, slots=True)
class Flips:
    """A pairwise judge asked in both orders."""

    pairs: int
    flips: int
    """Pairs in which the preferred answer was another after the two had changed places."""
    interval: Interval
    """Of the position-flip rate."""
    for_first: int
    """Flips in which the answer shown first was preferred both times; the rest went to the second or to a tie."""

    @property
    def rate(self) -> float:
        """Flips of all pairs."""
        return self.flips / self.pairs


@dataclass(frozen=True, slots=True)
class LengthBias:
    """How a judge's preferences go with length. Longer answers may be better ones: it is a bias only as far as
    checkers or people do not prefer them as often."""

    decided: int
    """Pairs of answers of unlike length of which one was preferred."""
    longer: int
    """Those in which it was the longer one."""
    interval: Interval
    """Of their share."""

    @property
    def share(self) -> float:
        """How often the longer answer was preferred."""
        return self.longer / self.decided

    @property
    def excess(self) -> float:
        """How much more often the longer answer was preferred than the shorter, as a share: −1 to 1."""
        return 2 * self.share - 1

    @property
    def excess_interval(self) -> Interval:
        """Of the excess."""
        found = self.interval
        return Interval(2 * found.low - 1, 2 * found.high - 1, found.level, found.method)


def agreement(
    first: npt.ArrayLike, second: npt.ArrayLike, groups: npt.ArrayLike | None = None, level: float = LEVEL
) -> Agreement:
    """Agreement of two raters and Cohen's κ, with BCa bootstrap intervals.

    Where fewer than five answers got unlike labels, a bootstrap could draw none of them: κ's interval is then that of
    the agreement, at the labels' own frequencies, and holds the true value in up to 98 % of simulations.

    Args:
        first: labels of any kind, ``[answers]``; answers that one of the two did not label are left out before.
        second: the other rater's.
        groups: labels of templates or conversations, ``[answers]``.
        level: as in :class:`Interval`.

    Raises:
        ValueError: there are no answers, or not equally many labels.
    """
    mine, theirs = np.asarray(first), np.asarray(second)
    if len(mine) != len(theirs):
        raise ValueError(f"{len(mine)} labels are compared with {len(theirs)}")
    grouped = Grouped.of(mine == theirs, groups)
    alike = _agreement_interval(grouped, level)
    tables, sizes = _tables(mine, theirs, groups)
    kappa = float(_kappa(tables.sum(axis=0)))
    if np.isnan(kappa):
        return Agreement(grouped.prompts, grouped.mean, alike, None, None)
    interval = None
    if len(grouped) >= ENOUGH:
        left_out = _kappa(tables.sum(axis=0) - tables)
        left_out = left_out[~np.isnan(left_out)]
        if grouped.prompts - grouped.sums.sum() < _FEW_UNLIKE or np.ptp(left_out) < 1e-12:
            interval = _at_chance(alike, float(_chance(tables.sum(axis=0))))
        else:
            draws = _kappa(resampling(len(grouped)).means(tables.reshape(len(grouped), -1)).reshape(-1, sizes, sizes))
            low, high = bca_bounds(kappa, draws[~np.isnan(draws)], left_out, level)
            interval = Interval(low, min(1.0, high), level, "BCa bootstrap")
    return Agreement(grouped.prompts, grouped.mean, alike, kappa, interval)


def position_flips(forward: npt.ArrayLike, backward: npt.ArrayLike, level: float = LEVEL) -> Flips:
    """How often a judge's preference hangs on the order of two answers.

    Args:
        forward: which answer was preferred with A shown first: above 0 for A, below 0 for B, 0 for a tie, ``[pairs]``.
        backward: the same with B shown first; above 0 still means A.
        level: as in :class:`Interval`.

    Raises:
        ValueError: there are no pairs, or not equally many.
    """
    one, other = (np.sign(np.asarray(each, np.float64)) for each in (forward, backward))
    if len(one) != len(other):
        raise ValueError(f"{len(one)} preferences are compared with {len(other)}")
    flips = int((one != other).sum())
    return Flips(len(one), flips, share_interval(flips, len(one), level), int(((one > 0) & (other < 0)).sum()))


def length_bias(
    preferred: npt.ArrayLike, first_lengths: npt.ArrayLike, second_lengths: npt.ArrayLike, level: float = LEVEL
) -> LengthBias | None:
    """How much more often a judge prefers the longer of two answers.

    Args:
        preferred: above 0 for the first answer, below 0 for the second, 0 for a tie, ``[pairs]``.
        first_lengths: of the first answers, in any unit, ``[pairs]``.
        second_lengths: of the second ones.
        level: as in :class:`Interval`.

    Returns:
        ``None`` where no pair of unlike length was decided.
    """
    longer = np.sign(np.asarray(first_lengths, np.float64) - np.asarray(second_lengths, np.float64))
    towards = np.sign(np.asarray(preferred, np.float64)) * longer
    decided, hits = int((towards != 0).sum()), int((towards > 0).sum())
    return LengthBias(decided, hits, share_interval(hits, decided, level)) if decided else None


_FEW_UNLIKE = 5


def _agreement_interval(grouped: Grouped, level: float) -> Interval:
    if grouped.alone:
        return share_interval(int(grouped.sums.sum()), len(grouped), level)
    found = mean_interval(grouped, level=level, within=(0, 1))
    assert found is not None  # what has a range always has an interval
    return found


def _at_chance(alike: Interval, chance: float) -> Interval:
    """κ of an interval of the agreement, chance staying as it is: (agreement − chance) / (1 − chance)."""
    low, high = ((end - chance) / (1 - chance) for end in (alike.low, alike.high))
    return Interval(low, high, alike.level, f"{alike.method} of the agreement")


def _tables(first: npt.ArrayLike, second: npt.ArrayLike, groups: npt.ArrayLike | None) -> tuple[Floats, int]:
    """How often each pair of labels is in each group, ``[groups, labels, labels]``, and how many labels there are."""
    mine, theirs = np.asarray(first), np.asarray(second)
    labels, codes = np.unique(np.concatenate([mine, theirs]), return_inverse=True)
    size = len(labels)
    cells = codes[: len(mine)] * size + codes[len(mine) :]
    rows = np.arange(len(mine)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(rows.max()) + 1
    found = np.bincount(rows * size**2 + cells, minlength=count * size**2).astype(np.float64)
    return found.reshape(count, size, size), size


def _kappa(tables: Floats) -> Floats:
    """(agreement − chance) / (1 − chance) of ``[..., labels, labels]``; NaN where chance is 1."""
    agreed = np.trace(tables, axis1=-2, axis2=-1) / tables.sum(axis=(-2, -1))
    chance = _chance(tables)
    return np.asarray((agreed - chance) / np.where(chance < 1 - 1e-9, 1 - chance, np.nan), np.float64)


def _chance(tables: Floats) -> Floats:
    """How often labels of these frequencies agree by chance, of ``[..., labels, labels]``."""
    both = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1)
    return np.asarray(both / tables.sum(axis=(-2, -1)) ** 2, np.float64)
