"""Whether a candidate's quality is at most a margin below the baseline's, and what is missing where that is open.

"Kept" is shown by the lower one-sided bound of the difference lying above −margin, "worse" by the upper one lying below
it. Both leave room for prompts of a kind that none of these was, each lost or gained whole (the rule of three): 50
prompts without any loss do not tell one that comes once in twenty. Where the true difference is −margin exactly, "kept"
is said in about one case of twenty (a level of 0.95), in simulation never in more than 6 %
(tests/app/experiments/statistics/test_noninferiority.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import NormalDist

import numpy.typing as npt

from app.experiments.statistics.effective import EffectiveSample
from app.experiments.statistics.intervals import ENOUGH, LEVEL, Interval, two_sided
from app.experiments.statistics.means import Grouped
from app.experiments.statistics.paired import are_flips, difference_interval
from engine.cascade.reporting.intervals import unseen_share

POWER = 0.8
"""How likely as many prompts as are asked for would settle it, if the difference and the spread are as seen."""


class State(StrEnum):
    """What is shown about a margin."""

    KEPT = "kept"
    """The candidate is at most the margin worse."""
    WORSE = "worse"
    """It is worse by more than the margin."""
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """A margin held against paired differences."""

    state: State
    difference: float
    """Mean of candidate − baseline."""
    bounds: Interval
    """Each end is a one-sided bound at ``level``, with room for prompts of a kind not met."""
    margin: float
    level: float
    prompts: int
    more_prompts: int | None
    """Where it is open: about how many more would show that quality is kept (:data:`POWER`), two significant digits;
    ``None`` where it is not open, or the difference seen is no smaller than the margin, so that no number would do."""

    @property
    def margin_shown(self) -> float:
        """The least margin within which quality is shown to be kept; 0 where the candidate is shown to be better."""
        return max(0.0, -self.bounds.low)

    @property
    def answers_to_turn(self) -> int:
        """About how many answers, of right and wrong ones, would have to be other than they are for "kept" to be shown,
        or no longer: the width of the interval stays as it is."""
        off = self.prompts * (self.bounds.low + self.margin)
        return max(1, math.ceil(off) if off > 0 else math.floor(-off) + 1)

    @property
    def turn(self) -> str:
        """What would have to be true for the verdict to turn, a sentence."""
        least = f"{100 * self.margin_shown:.1f} points"
        answers = f"about {self.answers_to_turn:,} of {self.prompts:,} answers"
        if self.state is State.KEPT:
            below = f"with a margin below {least}, or " if self.margin_shown else ""
            return f"It would not be shown {below}if {answers} more had been wrong."
        return f"Quality would be kept with a margin above {least}, or if {answers} more had been right."


def noninferiority(
    differences: npt.ArrayLike, margin: float, groups: npt.ArrayLike | None = None, level: float = LEVEL
) -> NonInferiority:
    """Hold paired differences against a margin.

    Args:
        differences: candidate − baseline of scores from 0 to 1, ``[prompts]``.
        margin: how much worse is still good enough, above 0 and below 1.
        groups: labels ``[prompts]``.
        level: of each one-sided bound.

    Raises:
        ValueError: there are no differences, one is not between −1 and 1, or margin or level are out of range.
    """
    if not 0 < margin < 1:
        raise ValueError(f"a margin of {margin} is not between 0 and 1")
    found = difference_interval(differences, groups, two_sided(level))
    grouped = Grouped.of(differences, groups)
    sample = EffectiveSample.of(differences, groups)
    unseen = unseen_share(sample.prompts(two_sided(level)) if sample else len(grouped), two_sided(level))
    bounds = replace(
        found,
        low=min(found.low, grouped.mean - unseen * (grouped.mean + 1)),
        high=max(found.high, grouped.mean + unseen * (1 - grouped.mean)),
    )
    state = State.KEPT if bounds.low > -margin else State.WORSE if bounds.high < -margin else State.OPEN
    return NonInferiority(
        state=state,
        difference=grouped.mean,
        bounds=bounds,
        margin=margin,
        level=level,
        prompts=grouped.prompts,
        more_prompts=more_prompts(grouped, sample, margin, level) if state is State.OPEN else None,
    )


def more_prompts(grouped: Grouped, sample: EffectiveSample | None, margin: float, level: float = LEVEL) -> int | None:
    """About how many more prompts like these show the margin, with a chance of :data:`POWER`.

    n = ((z(level) + z(power))·s / (difference + margin))², s the spread seen, by group (Julious, Statistics in Medicine
    23, 2004), and no fewer than would show it if none differed, ln(1 − level) / ln(1 − margin). Of right and wrong
    answers, and where few or few that differ were seen, half a gained one and half a lost one are counted with them
    (Agresti and Min, ibid. 24, 2005).
    """
    gap = grouped.mean + margin
    if gap <= 1e-12:
        return None
    count: float = len(grouped)
    least = math.log(1 - level) / math.log(1 - margin)
    if sample is not None:
        count, error = sample.prompts(two_sided(level)), sample.standard_error()
    elif count < ENOUGH or grouped.few_differ or (grouped.alone and are_flips(grouped.sums)):
        shares = grouped.shares
        square = (float((shares**2).sum()) + 1) / (count + 2)
        error = math.sqrt(max(0.0, square - (float(shares.sum()) / (count + 2)) ** 2) / count)
    else:
        error = grouped.standard_error
    z = NormalDist().inv_cdf(level) + NormalDist().inv_cdf(POWER)
    needed = max(least, count * (z * error / gap) ** 2)
    return _about(max(1.0, (needed - count) * grouped.prompts / count))


def _about(value: float) -> int:
    """Up to two significant digits."""
    step = int(10 ** max(0, math.floor(math.log10(value)) - 1))
    return math.ceil(value / step) * step
