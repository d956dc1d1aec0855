"""What the runs of one configuration differ by, by themselves, on this machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import NormalDist, fmean
from typing import Self

from app.store import Repeats, RunStore
from engine.types import RunMetrics

ASSUMED_LIMIT = 0.15
"""Of a machine that was never measured: the difference between two single runs that is still taken for noise."""
DEGREES = 4
"""What the machine's spread weighs beside the spread of a few rounds, in degrees of freedom; see `Noise.half_width`."""
_MEASURED_FROM = 4
"""Degrees of freedom from which a machine counts as measured: one race of three rounds."""
_Z = NormalDist().inv_cdf(0.975)


class Figure(StrEnum):
    """A time of a run, by its name in `RunMetrics` and in the store."""

    TTFT = "ttft_s"
    TPOT = "tpot_s"
    E2E = "e2e_s"

    def of(self, metrics: RunMetrics) -> float | None:
        """Its value in seconds; ``None`` where it was not measured, or is nothing that a ratio can be made of."""
        return getattr(metrics, self) or None


@dataclass(frozen=True, slots=True)
class Noise:
    """How much single runs of one configuration differ on a machine, for each figure apart."""

    repeats: Mapping[str, Repeats] = field(default_factory=dict)
    """What repeated runs showed, by the name of the figure."""

    @classmethod
    def of_machine(cls, store: RunStore, *, without: str | None = None) -> Self:
        """Of this machine, by the newest runs stored. ``without`` leaves out a group, which is to be judged by it.

        Raises:
            StoreError: the run database cannot be read.
        """
        return cls(store.repeats(store.host, without=without))

    def is_measured(self, figure: Figure) -> bool:
        """Whether this machine's own repeats say it; an assumption stands in where there are too few of them."""
        return self.repeats.get(figure, Repeats()).degrees >= _MEASURED_FROM

    def deviation(self, figure: Figure) -> float:
        """Standard deviation of the natural logarithm of one run's figure; of small ones it is a share of the figure.

        The assumption counts like `DEGREES` repeats more, so that a handful of lucky ones makes nothing sure.
        """
        if not self.is_measured(figure):
            return _ASSUMED
        found = self.repeats[figure]
        return math.sqrt((DEGREES * _ASSUMED**2 + found.squares) / (DEGREES + found.degrees))

    def half_width(self, figure: Figure, logs: list[float], *, runs: int) -> float:
        """Half of the 95 % interval around the mean of logarithms, natural ones: the wider of two.

        * Student's t interval of the values themselves, where there are at least two. It holds however much the machine
          varies just then.
        * The same with a variance that is pooled from the values' own and the machine's, the latter with `DEGREES`
          degrees of freedom: the moderated t of Smyth (Linear models and empirical Bayes methods for assessing
          differential expression, Stat. Appl. Genet. Mol. Biol. 3, 2004), made for a handful of repetitions of things
          whose variances are alike but not the same. A lucky coincidence of three values is not taken for precision,
          and of a single value the machine alone tells.

        Args:
            figure: what was measured.
            logs: a logarithm for each round, at least one.
            runs: how many runs each is made of: 1, or 2 for a ratio.
        """
        mean, own = fmean(logs), len(logs) - 1
        squares = sum((value - mean) ** 2 for value in logs)
        pooled = (DEGREES * runs * self.deviation(figure) ** 2 + squares) / (DEGREES + own)
        widths = [_t(DEGREES + own) * math.sqrt(pooled / len(logs))]
        if own:
            widths.append(_t(own) * math.sqrt(squares / own / len(logs)))
        return max(widths)

    def limit(self, figure: Figure) -> float:
        """Of two single runs: the difference up to which it is noise, as a share. In the terms of ISO 5725-6 it is the
        repeatability limit, with t in place of 1.96 as the spread of a configuration is not known exactly."""
        return math.expm1(self.half_width(figure, [0.0], runs=2))

    def spread(self, figure: Figure) -> float:
        """Of one run: the uncertainty of its figure, as a share."""
        return math.expm1(self.half_width(figure, [0.0], runs=1))


def _t(degrees: int) -> float:
    """Student's t at 97.5 %: exact for one and two degrees of freedom, else by Abramowitz and Stegun 26.7.5, within
    1 %."""
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    if degrees == 2:
        return 0.95 / math.sqrt(2 * 0.975 * 0.025)
    z, v = _Z, degrees
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


_ASSUMED = math.log1p(ASSUMED_LIMIT) / (_t(DEGREES) * math.sqrt(2))

UNMEASURED = Noise()
"""Of a machine of which nothing is known."""
