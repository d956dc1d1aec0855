"""What each gear changes in a figure, from none on to all on, and which gears get in each other's way.

The figures were measured with every set of gears that can be combined, on the same prompts. What a gear changes is its
Shapley value, so that the bars lead from one end to the other. How two gears act on each other is looked at in ratios
("4 % less once the other is on"), as two that halve a time each are no surprise together, and in points for quality.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.experiments.statistics import (
    Attribution,
    Gears,
    Interval,
    attribution,
    interplay,
    mean_interval,
    pairs,
)
from app.experiments.statistics.intervals import LEVEL, Floats


class WaterfallFigure(StrEnum):
    """What gears change; quality is better when higher, all others when lower."""

    E2E = "E2E"
    TTFT = "TTFT"
    MEMORY = "memory"
    COST = "cost"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Bar:
    """One gear's part of the way, in the figure's unit."""

    gear: str
    start: float
    end: float
    interval: Interval | None
    """Of the change; ``None`` where the prompts show no spread, as one prompt does."""

    @property
    def change(self) -> float:
        """End − start."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Interaction:
    """A gear that does something else once another is on, beyond noise with all pairs looked at (Bonferroni)."""

    gear: str
    other: str
    on: float
    """What ``gear`` changes once ``other`` is on: a share of the figure (−0.04 is 4 % less), for quality of one."""
    off: float
    """What it changes while the other is off."""
    text: str


class AlarmKind(StrEnum):
    """How two gears get in each other's way."""

    CANCELS = "cancels"
    """Both together gain less than the better one alone, and that is not what the lesser one costs by itself."""
    BREAKS = "breaks"
    """Quality falls by more than both of them take from it one by one."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Two gears that should not be on together without a look at the figures."""

    kind: AlarmKind
    gear: str
    other: str
    text: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One figure from none on to all on, means over prompts."""

    figure: WaterfallFigure
    baseline: float
    total: float
    """With all on."""
    bars: tuple[Bar, ...]
    """Each starts where the one before it ends."""
    interactions: tuple[Interaction, ...]
    alarms: tuple[Alarm, ...]
    prompts: int
    left_out: int
    """Prompts that some set of gears gave no figure for; of quality none: an answer without a score counts 0."""


def waterfall(
    measured: Mapping[Gears, npt.ArrayLike],
    figure: WaterfallFigure,
    groups: npt.ArrayLike | None = None,
    level: float = LEVEL,
    order: Sequence[str] = (),
) -> Waterfall:
    """Attribute what gears change in a figure.

    Args:
        measured: ``[prompts]`` of each set of gears that can be combined, the empty one and all among them; NaN where a
            prompt has none. Seconds, bytes, money, or scores from 0 to 1.
        figure: which.
        groups: labels of templates or conversations, ``[prompts]``.
        level: of the intervals.
        order: of the gears' bars; by default the largest change first.

    Raises:
        NoOrderingError: there is no order in which all gears can be turned on one after the other.
        ValueError: no prompt has a figure with every set, or values are not equally many.
    """
    if len({len(np.asarray(each)) for each in measured.values()}) > 1:
        raise ValueError("every set of gears needs a value for each prompt, NaN where there is none")
    values = {gears: np.asarray(each, np.float64) for gears, each in measured.items()}
    quality = figure is WaterfallFigure.QUALITY
    if quality:
        values = {gears: np.nan_to_num(each, nan=0.0) for gears, each in values.items()}
    known = np.all([np.isfinite(each) for each in values.values()], axis=0)
    if not known.any():
        raise ValueError(f"no prompt has {figure} with every set of gears")
    values = {gears: each[known] for gears, each in values.items()}
    labels = None if groups is None else np.asarray(groups)[known]
    changes = attribution(values, labels, level, within=(-1, 1) if quality else None)
    baseline = float(values[frozenset()].mean())
    found = tuple(_Pair.all_of(values, figure, labels, level))
    return Waterfall(
        figure=figure,
        baseline=baseline,
        total=float(values[max(values, key=len)].mean()),
        bars=tuple(_bars(baseline, changes, order)),
        interactions=tuple(pair.interaction for pair in found if pair.is_shown),
        alarms=tuple(alarm for pair in found if (alarm := pair.alarm)),
        prompts=int(known.sum()),
        left_out=int((~known).sum()),
    )


def _bars(start: float, changes: tuple[Attribution, ...], order: Sequence[str]) -> Iterator[Bar]:
    for each in sorted(changes, key=lambda each: order.index(each.gear) if order else -abs(each.change)):
        yield Bar(each.gear, start, start + each.change, each.interval)
        start += each.change


@dataclass(frozen=True, slots=True)
class _Pair:
    """How the lesser of two gears acts with and without the better one."""

    figure: WaterfallFigure
    gear: str
    other: str
    """The one that changes more for the better by itself."""
    means: tuple[float, float, float]
    """Of the change once the other is on, while it is off, and of the other by itself: logarithms where in ratios."""
    in_ratios: bool
    on: Interval | None
    extra: Interval | None

    @classmethod
    def all_of(
        cls,
        values: Mapping[Gears, Floats],
        figure: WaterfallFigure,
        labels: npt.NDArray[np.generic] | None,
        level: float,
    ) -> Iterator[_Pair]:
        """Of all pairs that can come either way about."""
        quality = figure is WaterfallFigure.QUALITY
        in_ratios = not quality and all((each > 0).all() for each in values.values())
        scale = {gears: np.log(each) for gears, each in values.items()} if in_ratios else values
        names = pairs(values.keys())
        corrected = 1 - (1 - level) / max(1, len(names))
        for first, second in names:
            one, two = interplay(scale, first, second), interplay(scale, second, first)
            if one is None or two is None:
                continue
            gains = [float(each.off.mean()) * (1 if quality else -1) for each in (one, two)]
            gear, other, acts, by_itself = (
                (first, second, one, two) if gains[0] <= gains[1] else (second, first, two, one)
            )
            yield cls(
                figure,
                gear,
                other,
                (float(acts.on.mean()), float(acts.off.mean()), float(by_itself.off.mean())),
                in_ratios,
                mean_interval(acts.on, labels, corrected, (-1, 1) if quality else None),
                mean_interval(acts.extra, labels, corrected, (-2, 2) if quality else None),
            )

    @property
    def is_shown(self) -> bool:
        return self.extra is not None and 0 not in self.extra

    @property
    def interaction(self) -> Interaction:
        on, off = (self._share(mean) for mean in self.means[:2])
        without = self._size(abs(off)) if on * off > 0 else self._told(off)
        by = "by " if on * off > 0 and self.figure is not WaterfallFigure.QUALITY else ""
        text = f"{self.gear} {self._told(on)} once {self.other} is on, {by}{without} without it."
        return Interaction(self.gear, self.other, on, off, text)

    @property
    def alarm(self) -> Alarm | None:
        if not self.is_shown or not self._harms(self.extra):
            return None
        on, off, other = self.means
        if self.figure is WaterfallFigure.QUALITY:
            text = (
                f"{self.gear} and {self.other} break each other: together they cost {self._size(off - on)} of quality"
                " more than one by one."
            )
            return Alarm(AlarmKind.BREAKS, self.gear, self.other, text)
        if other >= 0 or not self._harms(self.on):
            return None
        text = (
            f"{self.gear} takes back part of what {self.other} gains: with both on, {self.figure} is "
            f"{self._size(self._share(on))} higher than with {self.other} alone."
        )
        return Alarm(AlarmKind.CANCELS, self.gear, self.other, text)

    def _harms(self, change: Interval | None) -> bool:
        """Whether a change is shown to be for the worse."""
        if change is None:
            return False
        return change.high < 0 if self.figure is WaterfallFigure.QUALITY else change.low > 0

    def _share(self, mean: float) -> float:
        return float(np.expm1(mean)) if self.in_ratios else mean

    def _told(self, change: float) -> str:
        if self.figure is WaterfallFigure.QUALITY:
            return f"{'adds' if change > 0 else 'costs'} {self._size(abs(change))} of quality"
        return f"{'raises' if change > 0 else 'lowers'} {self.figure} by {self._size(abs(change))}"

    def _size(self, change: float) -> str:
        """In percent, and quality in points; in the figure's own unit where some value is 0 and leaves no ratio."""
        if self.figure is WaterfallFigure.QUALITY:
            return f"{change * 100:.1f} points"
        if not self.in_ratios:
            return f"{change:.3g}"
        return f"{change * 100:.0f} %" if change >= 0.0095 else f"{change * 100:.1f} %"
