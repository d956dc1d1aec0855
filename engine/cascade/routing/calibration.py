"""Whether a score means what it says, which signal tells most, and whether live scores are still like those
the threshold was chosen on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from engine.cascade.routing.scores import Bools, Floats
from engine.cascade.routing.signals import FeatureTable
from engine.errors import RouterProfileError

BINS = 10
_GRID = np.linspace(0, 1, 101)
_OUTSIDE_EXPECTED = 0.02
"""Of live scores that are like the calibration's: what lies beyond their 1 and 99 % quantiles."""
_OUTSIDE_WARNS = 0.05
_P_WARNS = 0.01
_STEP_WARNS = 0.1
MIN_LIVE = 30
"""Live scores below which nothing is said of drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Prompts whose scores lie in one of ten equal ranges."""

    low: float
    high: float
    prompts: int
    mean_score: float
    needed: float
    """Share of them that did need the larger model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far scores are from the probabilities they claim to be. NaN scores are left out."""

    bins: tuple[ReliabilityBin, ...]
    """Those that are not empty."""
    ece: float | None
    """Expected calibration error: |mean score − share needed|, weighted by the bins' prompts. ``None`` without a
    score."""
    brier: float | None
    """Mean squared difference of score and label."""
    auroc: float | None
    """How often a prompt that needs the larger model scores above one that does not; ``None`` where all
    labels are the same."""
    left_out: int

    @classmethod
    def of(cls, score: Floats, needed: Bools) -> Self:
        """From scores and labels, both ``[prompts]``."""
        known = ~np.isnan(score)
        score, needed = score[known], needed[known]
        at = np.minimum((score * BINS).astype(int), BINS - 1)
        bins = tuple(
            ReliabilityBin(
                low=index / BINS,
                high=(index + 1) / BINS,
                prompts=int((at == index).sum()),
                mean_score=float(score[at == index].mean()),
                needed=float(needed[at == index].mean()),
            )
            for index in np.unique(at).tolist()
        )
        errors = [part.prompts * abs(part.mean_score - part.needed) for part in bins]
        return cls(
            bins=bins,
            ece=sum(errors) / len(score) if len(score) else None,
            brier=float(np.mean((score - needed) ** 2)) if len(score) else None,
            auroc=auroc(score, needed),
            left_out=int((~known).sum()),
        )


def auroc(values: Floats, needed: Bools) -> float | None:
    """P(a value of a needed prompt > one of another), ties counting half; NaN left out.

    ``None`` where one label is missing.
    """
    known = ~np.isnan(values)
    others, ours = np.sort(values[known & ~needed]), values[known & needed]
    if not others.size or not ours.size:
        return None
    below, not_above = np.searchsorted(others, ours, "left"), np.searchsorted(others, ours, "right")
    return float((below + not_above).sum() / (2 * ours.size * others.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalStrength:
    """What one signal tells on its own."""

    name: str
    auroc: float
    """At least 0.5: in the direction that tells."""
    rises: bool
    """Whether a high value speaks for the larger model."""


def signal_strengths(table: FeatureTable, needed: Bools) -> tuple[SignalStrength, ...]:
    """Each signal by how well it tells who needs the larger model, the best first.

    Signals that are unknown everywhere are left out, as are all of them where every label is the same.
    """
    found = []
    for index, name in enumerate(table.names):
        area = auroc(table.values[:, index], needed)
        if area is not None:
            found.append(SignalStrength(name=name, auroc=max(area, 1 - area), rises=area >= 0.5))
    return tuple(sorted(found, key=lambda signal: (-signal.auroc, signal.name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Live scores against the calibration's."""

    live: int
    outside: float | None
    """Share beyond the calibration's 1 and 99 % quantiles: 2 % where nothing has changed. ``None`` without a score."""
    ks_statistic: float | None
    """Greatest distance between the two distributions."""
    ks_p_value: float | None
    """Of the two-sample Kolmogorov–Smirnov test, asymptotic."""
    unknown: int
    """Live NaN scores."""
    warning: str
    """For the user; empty where nothing is to be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreReference:
    """The distribution of the scores that a threshold was chosen on."""

    quantiles: tuple[float, ...]
    """At 0, 1, … 100 %."""
    prompts: int

    def __post_init__(self) -> None:
        if len(self.quantiles) != len(_GRID) or self.prompts < 1 or not np.isfinite(self.quantiles).all():
            raise RouterProfileError("The profile's calibration scores are incomplete: 101 quantiles are needed.")
        if (np.diff(self.quantiles) < 0).any():
            raise RouterProfileError("The profile's calibration scores are out of order.")

    @classmethod
    def of(cls, score: Floats) -> Self:
        """Of scores ``[prompts]``; NaN left out.

        Raises:
            RouterProfileError: no score is known.
        """
        known = score[~np.isnan(score)]
        if not known.size:
            raise RouterProfileError("No prompt has a score: there is nothing to compare live scores with.")
        # rounding keeps the order, and the profile short
        return cls(quantiles=tuple(np.quantile(known, _GRID).round(6).tolist()), prompts=len(known))

    def drift(self, live: Floats) -> Drift:
        """Compare live scores ``[requests]`` with these. Below 30 of them, no warning is given."""
        known = np.sort(live[~np.isnan(live)])
        unknown = len(live) - len(known)
        if not known.size:
            return Drift(live=0, outside=None, ks_statistic=None, ks_p_value=None, unknown=unknown, warning="")
        outside = float(np.mean((known < self.quantiles[1]) | (known > self.quantiles[99])))
        statistic = self._distance(known)
        p_value = _ks_p_value(statistic, self.prompts, len(known))
        return Drift(
            live=len(known),
            outside=outside,
            ks_statistic=statistic,
            ks_p_value=p_value,
            unknown=unknown,
            warning=_warning(len(known), outside, statistic, p_value),
        )

    def _distance(self, live: Floats) -> float:
        """Kolmogorov's distance: at each live score, on both sides of the step."""
        quantiles = np.array(self.quantiles)
        # where quantiles repeat, the distribution jumps: interpolation gives the upper side, mirrored the lower
        upper = np.interp(live, quantiles, _GRID, left=0.0, right=1.0)
        lower = 1 - np.interp(-live, -quantiles[::-1], _GRID, left=0.0, right=1.0)
        after = np.searchsorted(live, live, "right") / len(live)
        before = np.searchsorted(live, live, "left") / len(live)
        return float(max(np.abs(after - upper).max(), np.abs(before - lower).max()))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"quantiles": list(self.quantiles), "prompts": self.prompts}

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            RouterProfileError: the quantiles are not those of a distribution.
            KeyError, TypeError, ValueError: a value is missing or of another type.
        """
        return cls(quantiles=tuple(map(float, tree["quantiles"])), prompts=int(tree["prompts"]))


def _ks_p_value(statistic: float, one: int, other: int) -> float:
    from scipy.special import kolmogorov

    return float(kolmogorov(statistic * np.sqrt(one * other / (one + other))))


def _warning(live: int, outside: float, statistic: float, p_value: float) -> str:
    # a difference must be both certain and large: with thousands of requests any is certain
    if live < MIN_LIVE or p_value >= _P_WARNS or (outside < _OUTSIDE_WARNS and statistic < _STEP_WARNS):
        return ""
    return (
        f"The last {live:,} scores are unlike those the threshold was chosen on: {outside:.0%} lie outside their "
        f"range, where {_OUTSIDE_EXPECTED:.0%} would. Record new pairs and recalibrate."
    )
