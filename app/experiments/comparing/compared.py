"""Configurations beside each other, figure by figure: what each typically takes, and how it differs from the first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from app.experiments.comparing.shared import Bools, Quantity, Shared
from app.experiments.planning.scoring import Likeness
from app.experiments.statistics import Interval, difference_interval, geometric_ratio, mean_interval, quantile_interval
from app.experiments.statistics.intervals import Floats


class Share(StrEnum):
    """A figure that is a share of 1: the more the better."""

    QUALITY = "quality"
    """Right by a checker."""
    SAME_TEXT = "same text"
    """As the first one's, but for space around it."""
    WORD_F1 = "word F1"
    """To the first one's answer."""


@dataclass(frozen=True, slots=True)
class Typical:
    """What one configuration takes."""

    value: float
    """The median over prompts; of a share the mean."""
    interval: Interval | None
    """``None`` where so few prompts tell none."""


@dataclass(frozen=True, slots=True)
class Change:
    """How one configuration differs from the first on the same prompts."""

    value: float
    """The first one's figure over its own, as a geometric mean: above 1 where it takes less. Of a share the mean
    difference, below 0 where it is worse."""
    interval: Interval | None
    """``None`` where the prompts show no spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of all configurations, on the prompts of which each has it."""

    figure: Quantity | Share
    prompts: int
    typical: tuple[Typical, ...]
    changes: tuple[Change, ...]
    """Of all but the first configuration."""

    @property
    def change(self) -> float:
        """How far any is from the first: of ratios the logarithm, of shares the difference. 20 points are as much as
        22 % of a time."""
        apart = (abs(each.value if isinstance(self.figure, Share) else math.log(each.value)) for each in self.changes)
        return max(apart, default=0.0)


def compare(shared: Shared, texts: Mapping[str, str]) -> tuple[Compared, ...]:
    """All figures that there are, in the usual order.

    Args:
        shared: the first of the configurations is the one that the others are held against.
        texts: answers by the run's id: those of :attr:`Shared.latest` that are to be held against each other.
    """
    return (*_ratios(shared), *_shares(shared, texts))


def compared_texts(shared: Shared) -> list[str]:
    """The ids of the runs whose answers are to be held against each other: of prompts that no checker scores."""
    return [id for id in shared.latest[:, shared.unchecked].ravel() if id]


def _ratios(shared: Shared) -> Iterator[Compared]:
    for quantity, figures in shared.figures.items():
        which = np.asarray((figures > 0).all(axis=0), np.bool_)  # NaN is not
        if which.any():
            known, labels = figures[:, which], _labels(shared, which)
            found = [geometric_ratio(known[0], row, labels) for row in known[1:]]
            yield Compared(
                figure=quantity,
                prompts=int(which.sum()),
                typical=tuple(Typical(float(np.median(row)), _of_median(row)) for row in known),
                changes=tuple(Change(each.ratio, each.interval) for each in found),
            )


def _shares(shared: Shared, texts: Mapping[str, str]) -> Iterator[Compared]:
    if shared.checked.any():
        yield _share(Share.QUALITY, shared, shared.scores, shared.checked)
    likeness = [[_likeness(texts, *pair) for pair in zip(shared.latest[0], row, strict=True)] for row in shared.latest]
    for share in (Share.SAME_TEXT, Share.WORD_F1):
        values = np.array([[_read(share, each) for each in row] for row in likeness], np.float64)
        which = np.asarray(~np.isnan(values).any(axis=0), np.bool_)
        if which.any():
            yield _share(share, shared, values, which)


def _share(share: Share, shared: Shared, values: Floats, which: Bools) -> Compared:
    known, labels = values[:, which], _labels(shared, which)
    typical = [Typical(float(row.mean()), mean_interval(row, labels, within=(0, 1))) for row in known]
    if share is not Share.QUALITY:
        typical[0] = Typical(1.0, None)  # the first one's answers are like themselves, and no chance is in it
    return Compared(
        figure=share,
        prompts=int(which.sum()),
        typical=tuple(typical),
        changes=tuple(
            Change(float((row - known[0]).mean()), difference_interval(row - known[0], labels)) for row in known[1:]
        ),
    )


def _likeness(texts: Mapping[str, str], first: str, other: str) -> Likeness | None:
    """Of one answer to the first one's, none at all of a failure; ``None`` where there is nothing to be like."""
    if first not in texts or (other and other not in texts):
        return None
    return Likeness.of(texts[other], texts[first]) if other else Likeness(same_text=False, word_f1=0.0)


def _read(share: Share, likeness: Likeness | None) -> float:
    if likeness is None:
        return math.nan
    return float(likeness.same_text) if share is Share.SAME_TEXT else likeness.word_f1


def _of_median(values: Floats) -> Interval | None:
    found = quantile_interval(values, 0.5)
    return found if math.isfinite(found.low) and math.isfinite(found.high) else None


def _labels(shared: Shared, which: Bools) -> NDArray[np.intp] | None:
    if shared.groups is None:
        return None
    return np.unique(np.array(shared.groups)[which], return_inverse=True)[1]
