"""Pick a threshold for me: the user names a target, one half of the prompts chooses, the other half reports.

**Risk.** R(t) = P(a prompt keeps its small answer at threshold t, and the large one would have scored
higher), over *all* prompts: of a hundred questions, how many get a worse answer than they could have. Learn
then test (Angelopoulos et al., arXiv:2110.01052) certifies R(t) ≤ α with confidence 1 − δ: on a grid of
thresholds fixed beforehand, from the safest (everything goes up) on, each hypothesis R(t) > α is tested at
level δ with an exact binomial p-value, and the first that stands ends it (fixed-sequence testing). The last
one rejected is the threshold. With probability 1 − δ over the calibration prompts no certified threshold
violates the target.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.cascade.boundary import BoundaryData, Curve
from engine.cascade.figures import Figure, ThresholdFigures, missed_prompts
from engine.cascade.intervals import binomial_p_value, prompts_to_certify
from engine.cascade.scores import Bools, Floats
from engine.errors import InvalidRequestError
from engine.types import NEVER

GRID = np.append(np.linspace(0, 1, 1001), NEVER)
"""Thresholds that learn-then-test goes through, the safest first."""


@dataclass(frozen=True, slots=True)
class KeepQuality:
    """Keep at least this share of the large model's score, at least cost."""

    share: float

    def __post_init__(self) -> None:
        _check(0 < self.share <= 1, "The share of the large model's score must be above 0 and at most 100 %.")


@dataclass(frozen=True, slots=True)
class SpendAtMost:
    """Spend at most this share of the large model's cost, at best quality."""

    share: float

    def __post_init__(self) -> None:
        _check(self.share > 0, "The share of the large model's cost must be above 0.")


@dataclass(frozen=True, slots=True)
class RiskAtMost:
    """Certify that at most this share of all prompts keeps a small answer where the large one is better."""

    alpha: float
    delta: float = 0.05
    """How often the certificate may be wrong: confidence is 1 − δ."""

    def __post_init__(self) -> None:
        _check(0 < self.alpha < 1, "The risk must be between 0 and 100 %.")
        _check(0 < self.delta < 1, "The confidence must be between 0 and 100 %.")


Target = KeepQuality | SpendAtMost | RiskAtMost


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a target comes to on calibration prompts."""

    threshold: float
    met: bool
    reason: str
    """Why the target was not met, or what is odd about how it was; empty where there is nothing to say."""
    more_prompts: int | None = None
    """An estimate of the calibration prompts still missing; ``None`` where none are, or no number would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A threshold picked on one half of the prompts, and what it gives on the other."""

    target: Target
    threshold: float
    """:data:`~engine.cascade.scores.NEVER` where nothing may go up."""
    met: bool
    """On the calibration half; for a risk, certified."""
    held: bool
    """On the test half, as measured. Its interval says how sure that is."""
    reason: str
    more_prompts: int | None
    """Prompts to record on top, both halves counted, before the target can be met: an estimate."""
    calibration: ThresholdFigures
    test: ThresholdFigures


def select(data: BoundaryData, target: Target, seed: int = 0) -> Selection:
    """Pick a threshold on one half, stratified by category, and report it on the other.

    A learned router's weights must come from other prompts (:func:`stratified_parts`): scores of the very
    prompts it was fitted to look surer than they are, and a certificate from them is none.

    Raises:
        InvalidRequestError: there are fewer than two prompts.
    """
    calibration, test = (data.rows(half) for half in stratified_parts(data.ids, data.categories, seed=seed))
    choice = choose(calibration, target)
    figures = ThresholdFigures.of(test, choice.threshold)
    return Selection(
        target=target,
        threshold=choice.threshold,
        met=choice.met,
        held=_held(figures, target),
        reason=choice.reason,
        more_prompts=None if choice.more_prompts is None else 2 * choice.more_prompts,
        calibration=ThresholdFigures.of(calibration, choice.threshold),
        test=figures,
    )


def choose(data: BoundaryData, target: Target) -> Choice:
    """The threshold for a target on these prompts."""
    match target:
        case KeepQuality(share):
            return _keep_quality(data, share)
        case SpendAtMost(share):
            return _spend_at_most(data, share)
        case RiskAtMost(alpha, delta):
            return _risk_at_most(data, alpha, delta)


def stratified_parts(
    ids: tuple[str, ...], categories: tuple[str, ...], parts: int = 2, seed: int = 0
) -> tuple[npt.NDArray[np.intp], ...]:
    """Equal parts with each category split evenly, by a hash of seed and id: their order plays no part.

    Raises:
        InvalidRequestError: there are fewer prompts than parts.
    """
    _check(len(ids) >= parts, f"Too few prompts: {len(ids)} cannot be split into {parts} parts.")
    by_category: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(ids)), key=lambda i: hashlib.sha256(f"{seed}:{ids[i]}".encode()).digest()):
        by_category[categories[index]].append(index)
    # dealt in turn, on through the categories: two parts never differ by more than one prompt
    dealt = np.array([index for category in sorted(by_category) for index in by_category[category]], np.intp)
    return tuple(np.sort(dealt[part::parts]) for part in range(parts))


def certified_thresholds(scores: Floats, needed: Bools, target: RiskAtMost) -> Floats:
    """All thresholds of the grid that learn-then-test certifies, the safest first; maybe none.

    Args:
        scores: the router's, ``[prompts]``; NaN goes up.
        needed: whether the large answer scored higher, ``[prompts]``.
        target: the risk and the confidence.
    """
    # losses at t: prompts that need the large model and score below t
    losses = np.searchsorted(np.sort(scores[needed & ~np.isnan(scores)]), GRID, side="left")
    rejected = binomial_p_value(losses, len(scores), target.alpha) <= target.delta
    return GRID[: len(GRID) if rejected.all() else int(np.argmin(rejected))]


def _keep_quality(data: BoundaryData, share: float) -> Choice:
    curve = Curve.of(data)
    enough = np.flatnonzero(curve.quality >= share * data.strong_score.mean() - 1e-12)
    # the lowest threshold sends everything up: it always keeps all of it
    at = int(enough[np.argmin(curve.cost[enough])])
    dearer = curve.cost[at] > data.strong_cost.mean()
    reason = "This costs more than the large model alone: always use that." if dearer else ""
    return Choice(threshold=float(curve.thresholds[at]), met=True, reason=reason)


def _spend_at_most(data: BoundaryData, share: float) -> Choice:
    curve, budget = Curve.of(data), share * data.strong_cost.mean()
    affordable = np.flatnonzero(curve.cost <= budget * (1 + 1e-12))
    if not affordable.size:
        least = float(curve.cost.min() / data.strong_cost.mean())
        return Choice(
            threshold=float(curve.thresholds[np.argmin(curve.cost)]),
            met=False,
            reason=f"No threshold is that cheap: the least is {least:.0%} of the large model's cost.",
        )
    at = int(affordable[np.argmax(curve.quality[affordable])])
    return Choice(threshold=float(curve.thresholds[at]), met=True, reason="")


def _risk_at_most(data: BoundaryData, alpha: float, delta: float) -> Choice:
    needed = missed_prompts(data, np.zeros(len(data), np.bool_))
    certified = certified_thresholds(data.router_score, needed, RiskAtMost(alpha, delta))
    if not certified.size:
        least = prompts_to_certify(0.0, alpha, delta)
        return Choice(
            threshold=0.0,
            met=False,
            reason=f"{len(data):,} calibration prompts cannot show a risk of at most {alpha:.1%} with "
            f"{1 - delta:.0%} confidence, even without a single miss.",
            more_prompts=None if least is None else least - len(data),
        )
    threshold = float(certified[-1])
    if not data.up(threshold).all():
        return Choice(threshold=threshold, met=True, reason="")
    return _nothing_kept(data, alpha, delta, threshold)


def _nothing_kept(data: BoundaryData, alpha: float, delta: float, threshold: float) -> Choice:
    """The only certified thresholds send every prompt up: a certificate of nothing."""
    known = data.router_score[~np.isnan(data.router_score)]
    reason = "Only sending every prompt up can be certified: "
    if not known.size:
        return Choice(threshold=threshold, met=False, reason=reason + "no prompt has a score.")
    first_kept = GRID[np.searchsorted(GRID, known.min(), side="right")]
    risk = float(missed_prompts(data, data.up(first_kept)).mean())
    total = prompts_to_certify(risk, alpha, delta)
    if total is None:
        reason += f"already the surest small answers miss {risk:.1%} of all prompts, and more prompts would not help."
        return Choice(threshold=threshold, met=False, reason=reason)
    reason += f"keeping the surest small answers misses {risk:.1%} of {len(data):,} prompts, too few to be sure."
    return Choice(threshold=threshold, met=False, reason=reason, more_prompts=max(1, total - len(data)))


def _held(figures: ThresholdFigures, target: Target) -> bool:
    match target:
        case KeepQuality(share):
            return figures.quality.value >= share * figures.strong.value - 1e-12
        case SpendAtMost(share):
            return _value(figures.cost_share) <= share * (1 + 1e-12)
        case RiskAtMost(alpha, _):
            return figures.missed.value <= alpha


def _value(figure: Figure | None) -> float:
    return 0.0 if figure is None else figure.value


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidRequestError(message)
