"""Faster, slower or tied: two lanes' times held against each other, round by round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

from app.runs.verdict.noise import Figure, Noise

Call = Literal["faster", "slower", "tied"]
"""How the second of two compares with the first."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """One figure of one lane over its rounds."""

    values: tuple[float, ...]
    """At least one."""
    spread: float
    """The uncertainty of the median as a share of it; for its digits."""

    @classmethod
    def of(cls, figure: Figure, values: Sequence[float], noise: Noise) -> Rounds:
        """Of positive values, at least one."""
        return cls(tuple(values), math.expm1(noise.half_width(figure, [math.log(value) for value in values], runs=1)))

    @property
    def median(self) -> float:
        """Of the values."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The least of the values."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest of the values."""
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Paired:
    """One figure of two lanes over the rounds that they ran in turn.

    The rule. Each round gives one ratio, first / other, of two runs made one after the other: what slows the whole
    machine for a while cancels out, and as every second round runs the other way about, so does a slow drift. Ratios
    are compared as logarithms, so that swapping the lanes turns "faster" into "slower" and changes nothing else. There
    is a difference only if both hold:

    * the 95 % interval of the mean logarithm leaves out zero (`Noise.half_width`: the rounds' own t interval, or
      a wider one where the machine is known to vary more than these few rounds happen to show), and
    * all ratios lie on the same side of 1. With five rounds one contrary round could still pass the first test.

    Of equal lanes at most about one in twenty is then called different, if the logarithms are near normal. Agreement
    of all rounds alone would call one in four with three rounds and one in sixteen with five (a sign test's 2 / 2ⁿ).
    The range of three or five ratios is shown, but is no interval to decide by: it only grows with more rounds.
    """

    logs: tuple[float, ...]
    """Natural logarithms of first / other, a round each, at least one: above zero where the other took less time."""
    half_width: float
    """Half of the 95 % interval around their mean; for one round, what single runs differ by on this machine."""

    @classmethod
    def of(cls, figure: Figure, first: Sequence[float], other: Sequence[float], noise: Noise) -> Paired:
        """Of positive times, one of each lane a round, at least one round."""
        logs = [math.log(mine) - math.log(theirs) for mine, theirs in zip(first, other, strict=True)]
        return cls(tuple(logs), noise.half_width(figure, logs, runs=2))

    @classmethod
    def of_ratios(cls, figure: Figure, ratios: Sequence[float], noise: Noise) -> Paired:
        """Of the ratios themselves, at least one."""
        return cls.of(figure, ratios, [1.0] * len(ratios), noise)

    @property
    def rounds(self) -> int:
        """How many there were."""
        return len(self.logs)

    @property
    def ratio(self) -> float:
        """The median of first / other: above 1 where the other took less time."""
        return math.exp(median(self.logs))

    @property
    def low(self) -> float:
        """The least ratio of a round."""
        return math.exp(min(self.logs))

    @property
    def high(self) -> float:
        """The greatest ratio of a round."""
        return math.exp(max(self.logs))

    @property
    def spread(self) -> float:
        """The uncertainty of the ratio as a share of it; for its digits."""
        return math.expm1(self.half_width)

    @property
    def call(self) -> Call:
        """What the rounds say; see the rule above."""
        one_side = min(self.logs) > 0 or max(self.logs) < 0
        if not one_side or abs(fmean(self.logs)) <= self.half_width:
            return "tied"
        return "faster" if self.logs[0] > 0 else "slower"
