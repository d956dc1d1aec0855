"""Pick a threshold for me: the user names a target, one half of the prompts chooses, the other half reports.

Two thresholds come of it. The **naive** one meets the target on the half that chooses, at least cost: over many samples
of prompts, about every second keeps less than was asked for. The **safe** one is the cheapest that the half certifies
(:mod:`~engine.cascade.choosing.certificates`): with the confidence asked for, it keeps its promise. Where none that is
of use is certified, the naive one stands in, and the promise says that it is not shown.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.cascade.choosing.certificates import MOST_PROMPTS, certified, certified_thresholds, gains, prompts_needed
from engine.cascade.reporting.boundary import BoundaryData, Curve, descending
from engine.cascade.reporting.figures import ThresholdFigures, missed_prompts
from engine.cascade.reporting.intervals import prompts_to_certify
from engine.cascade.routing.promise import KeepQuality, Promise, RiskAtMost, SpendAtMost, Target, promise_of
from engine.cascade.routing.scores import Bools, Floats
from engine.errors import InvalidRequestError

_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a target comes to on the prompts that choose."""

    naive: float
    """Meets the target on these prompts, or comes closest."""
    safe: float | None
    """Certified, and of use: the promise is shown. ``None`` where there is none."""
    met: bool
    """Whether any threshold meets the target on these prompts."""
    saves: bool
    """Whether the naive threshold costs less than the large model alone, on these prompts."""
    reason: str
    """Why nothing was certified, where more than the number of prompts is to be said."""
    more_prompts: int | None = None
    """An estimate of the prompts still missing; ``None`` where none are, or no number would do."""

    @property
    def threshold(self) -> float:
        """The safe one, or the naive one in its stead."""
        return self.naive if self.safe is None else self.safe


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A threshold picked on one half of the prompts, and what it gives on the other."""

    target: Target
    prompts: int
    """Of both halves; a single prompt, however often it is there, chooses and reports."""
    choice: Choice
    promise: Promise
    """Its missing prompts count both halves."""
    calibration: ThresholdFigures
    """On the half that chose."""
    test: ThresholdFigures
    """On the half that reports: what to believe."""
    naive: ThresholdFigures
    """The naive threshold on the half that reports: beside :attr:`test` it says what the promise costs."""

    @property
    def threshold(self) -> float:
        """:data:`~engine.types.NEVER` where nothing may go up."""
        return self.choice.threshold


def select(data: BoundaryData, target: Target, seed: int = 0) -> Selection:
    """Pick a threshold on one half, stratified by category, and report it on the other.

    A learned router's weights must come from other prompts (:func:`stratified_parts`): scores of the very
    prompts it was fitted to look surer than they are, and a certificate from them is none.
    """
    calibration, test = halves(data, seed)
    choice = choose(calibration, target)
    more = choice.more_prompts
    figures = ThresholdFigures.of(test, choice.threshold)
    return Selection(
        target=target,
        prompts=len(data),
        choice=choice,
        promise=promise_of(
            target, shown=choice.safe is not None, more_prompts=None if more is None else rounded(2 * more)
        ),
        calibration=ThresholdFigures.of(calibration, choice.threshold),
        test=figures,
        naive=figures if choice.safe is None else ThresholdFigures.of(test, choice.naive),
    )


def halves(data: BoundaryData, seed: int = 0) -> tuple[BoundaryData, BoundaryData]:
    """The half that chooses and the half that reports; a single prompt, however often it is there, is both."""
    calibration, test = half_rows(data, seed)
    return data.rows(calibration), data.rows(test)


def half_rows(data: BoundaryData, seed: int = 0) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The rows of :func:`halves`."""
    if len(set(data.texts)) < 2:
        return (np.arange(len(data)),) * 2
    calibration, test = stratified_parts(data.ids, data.categories, data.texts, seed=seed)
    return calibration, test


def choose(data: BoundaryData, target: Target) -> Choice:
    """The thresholds for a target on these prompts."""
    match target:
        case RiskAtMost():
            return _risk_at_most(data, target)
        case KeepQuality():
            return _keep_quality(data, target)
        case SpendAtMost():
            return _spend_at_most(data, target)


def stratified_parts(
    ids: Sequence[str], categories: Sequence[str], texts: Sequence[str], parts: int = 2, seed: int = 0
) -> tuple[npt.NDArray[np.intp], ...]:
    """Equal parts with each category split evenly, by a hash of seed and id: their order plays no part.

    Prompts of one text stay together, in the part where their category has the fewest: else what chose a threshold
    would report on it. Where no text is there twice, two parts never differ by more than one prompt.

    Args:
        ids: of the prompts, each once.
        categories: theirs.
        texts: theirs.
        parts: how many.
        seed: of the hash.

    Raises:
        InvalidRequestError: there are fewer texts than parts.
    """
    by_text: dict[str, list[int]] = defaultdict(list)
    by_category: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(ids)), key=lambda i: hashlib.sha256(f"{seed}:{ids[i]}".encode()).digest()):
        by_text[texts[index]].append(index)
        by_category[categories[index]].append(index)
    if len(by_text) < parts:
        raise InvalidRequestError(f"Too few prompts: {len(by_text)} cannot be split into {parts} parts.")
    # dealt in turn, on through the categories
    dealt = np.array([index for category in sorted(by_category) for index in by_category[category]], np.intp)
    part_of = np.empty(len(ids), np.intp)
    part_of[dealt] = np.arange(len(ids)) % parts
    _keep_together([rows for rows in by_text.values() if len(rows) > 1], part_of, categories, parts)
    return tuple(np.flatnonzero(part_of == part) for part in range(parts))


def _keep_together(
    groups: Sequence[Sequence[int]], part_of: npt.NDArray[np.intp], categories: Sequence[str], parts: int
) -> None:
    """Move each group of rows to one part: where there are the fewest of its category, then the fewest at all. All
    other rows stay. With as many texts as parts, neither the first part nor all the others together are left empty."""
    grouped = {row for group in groups for row in group}
    alone = [row for row in range(len(part_of)) if row not in grouped]
    of_category = Counter((categories[row], int(part_of[row])) for row in alone)
    size = Counter(int(part_of[row]) for row in alone)
    for group in groups:
        category = categories[group[0]]
        part = min(range(parts), key=lambda part: (of_category[category, part], size[part]))
        part_of[group] = part
        of_category[category, part] += len(group)
        size[part] += len(group)


def rounded(prompts: int) -> int:
    """An estimate of prompts, upwards to two digits."""
    step: int = 10 ** max(0, len(str(prompts)) - 2)
    return max(1, -(-prompts // step) * step)


def _keep_quality(data: BoundaryData, target: KeepQuality) -> Choice:
    curve, large = Curve.of(data), float(data.strong_cost.mean())
    enough = curve.quality >= target.share * data.strong_score.mean() - _TINY
    # the lowest threshold sends everything up: it always keeps all of it
    naive = _cheapest(curve, enough)
    shown = certified(data, target) & (curve.cost < large - _TINY)
    safe = float(curve.thresholds[_cheapest(curve, shown)]) if shown.any() and data.strong_score.any() else None
    saved = large - curve.cost
    return Choice(
        naive=float(curve.thresholds[naive]),
        safe=safe,
        met=True,
        saves=bool(saved[naive] > _TINY),
        reason=""
        if data.strong_score.any()
        else "The large model scores 0 on these prompts: there is nothing to keep.",
        more_prompts=None if safe is not None else _more_prompts(data, target, curve, saved, naive),
    )


def _spend_at_most(data: BoundaryData, target: SpendAtMost) -> Choice:
    curve, large = Curve.of(data), float(data.strong_cost.mean())
    affordable = curve.cost <= target.share * large * (1 + _TINY)
    if not affordable.any():
        least = int(np.argmin(curve.cost))
        share = curve.cost[least] / large if large else 0.0
        return Choice(
            naive=float(curve.thresholds[least]),
            safe=None,
            met=False,
            saves=bool(curve.cost[least] < large - _TINY),
            reason=f"No threshold is that cheap: the least is {share:.0%} of the large model's cost.",
        )
    naive = _best(curve, affordable)
    shown = certified(data, target)
    safe = float(curve.thresholds[_best(curve, shown)]) if shown.any() else None
    gained = curve.quality - data.weak_score.mean()
    return Choice(
        naive=float(curve.thresholds[naive]),
        safe=safe,
        met=True,
        saves=bool(curve.cost[naive] < large - _TINY),
        reason="",
        more_prompts=None if safe is not None else _more_prompts(data, target, curve, gained, naive),
    )


def _cheapest(curve: Curve, among: Bools) -> int:
    points = np.flatnonzero(among)
    return int(points[np.argmin(curve.cost[points])])


def _best(curve: Curve, among: Bools) -> int:
    points = np.flatnonzero(among)
    return int(points[np.argmax(curve.quality[points])])


def _more_prompts(
    data: BoundaryData, target: KeepQuality | SpendAtMost, curve: Curve, worth: Floats, naive: int
) -> int | None:
    """How many more would certify a threshold that is worth half as much as the naive one, if they were like these."""
    if worth[naive] <= _TINY:
        return None
    needed = prompts_needed(data.router_score, *gains(data, target), 1 - target.confidence)
    least = float(needed[worth >= worth[naive] / 2].min())
    return max(1, int(least) - len(data)) if np.isfinite(least) else None


def _risk_at_most(data: BoundaryData, target: RiskAtMost) -> Choice:
    curve, large = Curve.of(data), float(data.strong_cost.mean())
    needed = missed_prompts(data, np.zeros(len(data), np.bool_))
    order, _ = descending(data.router_score)
    went_up = np.append(0, np.cumsum(needed[order]))[np.rint(curve.share * len(data)).astype(np.intp)]
    risk = (needed.sum() - went_up) / len(data)
    naive = _cheapest(curve, risk <= target.alpha)
    saved = large - curve.cost
    shown = certified_thresholds(data.router_score, needed, target)
    safe = float(shown[-1]) if shown.size and data.cost(data.up(float(shown[-1]))).mean() < large - _TINY else None
    reason, more = ("", None) if safe is not None else _why_uncertified(risk, saved, naive, target, len(data))
    return Choice(
        naive=float(curve.thresholds[naive]),
        safe=safe,
        met=True,
        saves=bool(saved[naive] > _TINY),
        reason=reason,
        more_prompts=more,
    )


def _why_uncertified(
    risk: Floats, saved: Floats, naive: int, target: RiskAtMost, prompts: int
) -> tuple[str, int | None]:
    """What is said where no threshold that saves is certified, and about how many more prompts would certify one."""
    least = prompts_to_certify(0.0, target.alpha, target.delta)
    if least is not None and prompts < least:
        return (
            f"{prompts:,} calibration prompts cannot show a risk of at most {target.alpha:.1%} with "
            f"{target.confidence:.0%} confidence, even without a single miss."
        ), least - prompts
    if saved[naive] <= _TINY:
        return "", None
    surest = float(risk[saved >= saved[naive] / 2].min())
    total = prompts_to_certify(surest, target.alpha, target.delta, MOST_PROMPTS)
    reason = f"The surest threshold that saves half as much misses {surest:.1%} of {prompts:,} prompts"
    if total is None:
        return f"{reason}, and more would not help.", None
    return f"{reason}, too few to be sure.", max(1, total - prompts)
