"""One configuration against another on the same prompts: whether it is as good, and how much faster, in a sentence.

A prompt that a configuration failed on, or gave no answer that could be scored, counts 0 and is counted apart: left
out, it would make a configuration look better the more it fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app import units
from app.experiments.statistics import (
    GeometricRatio,
    Interval,
    NonInferiority,
    State,
    difference_interval,
    difference_p_value,
    geometric_ratio,
    holm,
    noninferiority,
    too_few_groups,
)
from app.experiments.statistics.intervals import LEVEL, Floats

RIGHT = 0.5
"""The score from which on an answer counts as right, where it is told which answers flipped."""
TOO_FEW_TEMPLATES = "too few templates"
"""Said of a category without an interval."""
_THE_SAME = 0.005
"""A change of a time, as a share, that is called none where nothing tells more of it."""


@dataclass(frozen=True, slots=True)
class PromptPairs:
    """One figure of a baseline and of a candidate, prompt by prompt."""

    prompt_ids: tuple[str, ...]
    groups: tuple[str, ...]
    """The template or conversation of each prompt; the prompt's own id where it stands alone."""
    categories: tuple[str, ...]
    baseline: Floats
    """Scores from 0 to 1, or seconds, ``[prompts]``; NaN where there is none."""
    candidate: Floats

    def __post_init__(self) -> None:
        lengths = {len(each) for each in (self.groups, self.categories, self.baseline, self.candidate)}
        if not self.prompt_ids or lengths != {len(self.prompt_ids)}:
            raise ValueError("a comparison needs at least one prompt, and as many groups, categories and values as ids")
        if twice := [name for name, times in Counter(self.prompt_ids).items() if times > 1]:
            raise ValueError(f"{len(twice)} prompt ids come more than once: {', '.join(sorted(twice)[:5])}")

    def __len__(self) -> int:
        return len(self.prompt_ids)

    @property
    def labels(self) -> npt.NDArray[np.intp] | None:
        """The groups as numbers, ``[prompts]``; ``None`` where every prompt stands alone."""
        names, codes = np.unique(np.array(self.groups), return_inverse=True)
        return None if len(names) == len(self) else codes


@dataclass(frozen=True, slots=True)
class Slice:
    """The prompts of one category."""

    category: str
    prompts: int
    baseline: float
    candidate: float
    interval: Interval | None
    """Of the difference, by itself: not widened for the number of slices. ``None`` where too few templates tell."""
    p_value: float
    """Corrected for the number of slices (Holm)."""
    differs: bool
    """Whether the candidate is shown to differ from the baseline here, with all slices looked at."""

    @property
    def difference(self) -> float:
        """Candidate − baseline."""
        return self.candidate - self.baseline


@dataclass(frozen=True, slots=True)
class QualityVerdict:
    """Whether a candidate keeps a baseline's quality."""

    text: str
    """One sentence."""
    name: str
    baseline_name: str
    baseline: float
    """Mean score."""
    candidate: float
    interval: Interval
    """Of the difference, two-sided."""
    shown: NonInferiority
    """The margin held against the difference, with what would turn it."""
    baseline_unscored: int
    """Prompts that the baseline gave no score on: counted as 0."""
    candidate_unscored: int
    lost: tuple[str, ...]
    """Ids of the prompts that the baseline got right and the candidate wrong, in their order."""
    gained: tuple[str, ...]
    slices: tuple[Slice, ...]
    """By category; none where there is only one."""

    @property
    def prompts(self) -> int:
        """How many were compared."""
        return self.shown.prompts

    @property
    def difference(self) -> float:
        """Candidate − baseline."""
        return self.shown.difference

    @property
    def flip_rate(self) -> float:
        """Share of prompts whose answer changed between right and wrong, in either direction."""
        return (len(self.lost) + len(self.gained)) / self.prompts


@dataclass(frozen=True, slots=True)
class SpeedVerdict:
    """How much faster a candidate is than a baseline."""

    text: str
    """One sentence."""
    name: str
    baseline_name: str
    figure: str
    ratio: GeometricRatio | None
    """baseline / candidate; ``None`` where no prompt was timed with both."""
    untimed: int
    """Prompts left out because one of the two has no time."""

    @property
    def is_told(self) -> bool:
        """Whether the prompts tell anything of others: not one alone, one template's, or ratios that are the same."""
        return self.ratio is not None and self.ratio.interval is not None

    @property
    def is_different(self) -> bool:
        """Whether faster or slower is shown."""
        return self.ratio is not None and self.ratio.interval is not None and 1 not in self.ratio.interval


def quality_verdict(
    paired: PromptPairs, margin: float, *, name: str, baseline_name: str, level: float = LEVEL
) -> QualityVerdict:
    """Hold a candidate's scores against a baseline's.

    Args:
        paired: scores from 0 to 1. Prompts that nothing can score, and such as were not asked yet, are not among them.
        margin: how much worse is still good enough, as a share: 0.02 for 2 points.
        name: the candidate's.
        baseline_name: the baseline's.
        level: of the intervals, and of the bound that the margin is held against.

    Raises:
        ValueError: a score is not between 0 and 1, or margin or level are out of range.
    """
    before, after = (np.nan_to_num(each, nan=0.0) for each in (paired.baseline, paired.candidate))
    if not all(((each >= 0) & (each <= 1)).all() for each in (before, after)):
        raise ValueError("a score is between 0 and 1")
    differences, labels = after - before, paired.labels
    interval = difference_interval(differences, labels, level)
    shown = noninferiority(differences, margin, labels, level)
    was, now = before >= RIGHT, after >= RIGHT
    return QualityVerdict(
        text=_quality(name, shown, interval),
        name=name,
        baseline_name=baseline_name,
        baseline=float(before.mean()),
        candidate=float(after.mean()),
        interval=interval,
        shown=shown,
        baseline_unscored=int(np.isnan(paired.baseline).sum()),
        candidate_unscored=int(np.isnan(paired.candidate).sum()),
        lost=_ids(paired, was & ~now),
        gained=_ids(paired, now & ~was),
        slices=_slices(paired.categories, before, after, labels, level),
    )


def speed_verdict(
    paired: PromptPairs, *, name: str, baseline_name: str, figure: str = "E2E", level: float = LEVEL
) -> SpeedVerdict:
    """Hold a candidate's times against a baseline's.

    Args:
        paired: seconds above 0. A time that was not measured cannot be made up: such prompts are left out and counted.
        name: the candidate's.
        baseline_name: the baseline's.
        figure: what was timed, as it is called in a sentence.
        level: of the interval.

    Raises:
        ValueError: a time is not above 0.
    """
    timed = np.isfinite(paired.baseline) & np.isfinite(paired.candidate)
    untimed = int((~timed).sum())
    if not timed.any():
        text = f"No comparison of {figure}: no prompt was timed with both {name} and {baseline_name}."
        return SpeedVerdict(text, name, baseline_name, figure, None, untimed)
    labels = paired.labels
    ratio = geometric_ratio(
        paired.baseline[timed], paired.candidate[timed], None if labels is None else labels[timed], level
    )
    return SpeedVerdict(_speed(name, baseline_name, figure, ratio), name, baseline_name, figure, ratio, untimed)


def _quality(name: str, shown: NonInferiority, interval: Interval) -> str:
    sure = f"({units.percent(shown.level)})"
    margin = _points(shown.margin)
    match shown.state:
        case State.KEPT if interval.low > 0:
            return f"{name} is better by {_range(interval.low, interval.high)} {sure}."
        case State.KEPT if interval.high < 0:
            worse = _range(-interval.high, -interval.low)
            return f"{name} keeps quality within {margin}, though it is worse by {worse} {sure}."
        case State.KEPT:
            return f"{name} keeps quality within {margin} {sure}."
        case State.WORSE if interval.high < -shown.margin:
            return f"{name} is worse by {_range(-interval.high, -interval.low)} {sure}."
        case State.WORSE:
            return f"{name} is worse by more than {margin} {sure}."
        case State.OPEN:
            kept, more = f"That {name} keeps quality within {margin} is not shown", shown.more_prompts
            if more is None:
                lower = _points(-shown.difference)
                return f"{kept}, and more prompts would not show it: it scores {lower} lower."
            return f"{kept} yet: about {units.counted(more, 'more prompt')}."


def _range(low: float, high: float) -> str:
    """From the one to the other, both above 0, in whole points where they are two or more apart."""
    digits = 0 if high - low >= 0.02 else 1
    return f"{100 * low:.{digits if low >= 0.01 else 1}f} to {100 * high:.{digits}f} points"


def _points(share: float) -> str:
    value = f"{round(100 * share, 1):g}"
    return f"{value} point" if value == "1" else f"{value} points"


def _speed(name: str, baseline_name: str, figure: str, found: GeometricRatio) -> str:
    ratio, interval = found.ratio, found.interval
    slower = ratio < 1
    more, times = ("slower", 1 / ratio) if slower else ("faster", ratio)
    prompts = units.counted(found.prompts, "prompt")
    if interval is None:
        told = f"{units.ratio(times)} {more} than {baseline_name} in {figure}"
        if times - 1 < _THE_SAME:
            told = f"as fast as {baseline_name} in {figure}"
        alike = " without a spread" if found.prompts > 1 else ""
        return f"{name} was {told} on {prompts}{alike}: too few prompts to tell of others."
    spread, sure = (interval.high / interval.low - 1) / 2, units.percent(interval.level)
    low, high = (units.ratio(end, spread) for end in (interval.low, interval.high))
    if 1 in interval:
        return f"No difference in {figure} is shown: {name} is {low} to {high} as fast as {baseline_name} ({sure})."
    if slower:
        low, high = (units.ratio(1 / end, spread) for end in (interval.high, interval.low))
    return f"{name} is {units.ratio(times, spread)} {more} than {baseline_name} in {figure} ({low} to {high}, {sure})."


def _ids(paired: PromptPairs, which: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(paired.prompt_ids[place] for place in np.flatnonzero(which))


def _slices(
    categories: Sequence[str], before: Floats, after: Floats, labels: npt.NDArray[np.intp] | None, level: float
) -> tuple[Slice, ...]:
    names, codes = np.unique(np.array(categories), return_inverse=True)
    if len(names) == 1:
        return ()
    differences = after - before
    parts = [(codes == code, None if labels is None else labels[codes == code]) for code in range(len(names))]
    tested = holm([difference_p_value(differences[part], groups) for part, groups in parts], level)
    return tuple(
        Slice(
            category=str(category),
            prompts=int(part.sum()),
            baseline=float(before[part].mean()),
            candidate=float(after[part].mean()),
            interval=(
                None
                if too_few_groups(differences[part], groups)
                else difference_interval(differences[part], groups, level)
            ),
            p_value=float(adjusted),
            differs=bool(rejected),
        )
        for category, (part, groups), adjusted, rejected in zip(
            names, parts, tested.adjusted, tested.rejected, strict=True
        )
    )
