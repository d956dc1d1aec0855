"""Which thresholds some prompts are enough to vouch for.

A promise says that a mean over all prompts there could be is at least 0: of the kept answer's score − share × the large
model's, or of share × the large model's cost − the cost. **Fixed-sequence testing** (learn then test, Angelopoulos et
al., arXiv:2110.01052): the thresholds are gone through from the safest on, for each the hypothesis that its mean is
below 0 is tested at level δ, and the first that stands ends it. All that were rejected before it are certified, and
with probability 1 − δ over the prompts none of them breaks the promise. The thresholds are all there are, not a grid:
two with no score between them send the same prompts up, and so are tested by one test.

**The test.** :func:`p_values` weighs the prompts by chance (exponential weights, the Bayesian bootstrap), with one more
prompt as bad as any can be: Gaffke's bound of a bounded mean (Learned-Miller and Thomas, arXiv:1905.06208). For scores
that are right or wrong, where no small answer beats the large one, it is the exact binomial test that the large
model's right answers are kept. That it holds in general is conjectured and no counterexample is known; the benchmark
``cascade`` measures it.

For a **risk**, R(t) = P(a prompt keeps its small answer at threshold t, and the large one would have scored higher),
the counts have an exact binomial p-value.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from engine.cascade.reporting.boundary import BoundaryData, Curve, descending
from engine.cascade.reporting.intervals import binomial_p_value
from engine.cascade.routing.promise import KeepQuality, RiskAtMost, SpendAtMost
from engine.cascade.routing.scores import Bools, Floats
from engine.types import NEVER

GRID = np.append(np.linspace(0, 1, 1001), NEVER)
"""Thresholds that a risk is certified on, the safest first."""
DRAWS = 2000
MOST_PROMPTS = 5_000
"""Beyond this an estimate says no more than that it is hopeless."""
_DRAWS_AT_ONCE = 100
_UNMET = 0.25
_DEAREST = 0.1


def certified(data: BoundaryData, target: KeepQuality | SpendAtMost) -> Bools:
    """Which points of the boundary's curve are certified, ``[points]``."""
    last = len(Curve.of(data).thresholds) - 1
    kept, up, worst = gains(data, target)
    p = p_values(data.router_score, kept, up, worst)
    if isinstance(target, KeepQuality):
        # from everything up on, which keeps all of the quality and needs no test
        rejected = np.append(p[:last] <= 1 - target.confidence, True)[::-1]
        return np.logical_and.accumulate(rejected)[::-1]
    return np.logical_and.accumulate(p <= 1 - target.confidence)


def gains(data: BoundaryData, target: KeepQuality | SpendAtMost) -> tuple[Floats, Floats, float]:
    """What each prompt adds to a promise if it stays and if it goes up, ``[prompts]`` each, and the worst that one of a
    kind not met could add. The promise is that the mean is at least 0.

    Of quality the worst is known: a right answer lost. Costs have no such end, so that no test of few prompts is exact:
    the worst is where the dearest tenth of the prompts begin, whoever answers them. The benchmark ``cascade`` measures
    what that gives."""
    if isinstance(target, KeepQuality):
        wanted = target.share * data.strong_score
        return data.weak_score - wanted, data.strong_score - wanted, -target.share
    budget = target.share * data.strong_cost
    stays, goes = budget - data.kept_cost, budget - data.up_cost
    return stays, goes, min(0.0, float(np.quantile(np.minimum(stays, goes), _DEAREST)))


def p_values(score: Floats, kept: Floats, up: Floats, worst: float, seed: int = 0) -> Floats:
    """For each threshold, how likely so high a mean would be if the true one were below 0, ``[points]`` as in
    :class:`~engine.cascade.reporting.boundary.Curve`.

    Args:
        score: the router's, ``[prompts]``.
        kept: what a prompt adds that stays, ``[prompts]``.
        up: what it adds if it goes up, ``[prompts]``.
        worst: the least that any prompt could add, at most 0.
        seed: of the weights.
    """
    order, ends = _points(score)
    changes = (up - kept)[order]

    def sums(weights: Floats) -> Floats:
        drawn = np.cumsum(weights * changes, axis=1)
        found: Floats = (weights @ kept[order])[:, None] + np.pad(drawn, ((0, 0), (1, 0)))[:, ends]
        return found

    return _share_below(sums, len(score), worst, seed)


def p_values_of(values: Floats, worst: float, seed: int = 0) -> Floats:
    """The same for means of any ``values [prompts, points]``."""
    return _share_below(lambda weights: np.asarray(weights @ values), len(values), worst, seed)


def _share_below(sums: Callable[[Floats], Floats], prompts: int, worst: float, seed: int) -> Floats:
    """The share of draws of weights ``[draws, prompts]`` in which the weighted sums ``[draws, points]``, with one more
    prompt that is the worst, are not above 0."""
    rng = np.random.default_rng(seed)
    below = 0.0
    for start in range(0, DRAWS, _DRAWS_AT_ONCE):
        weights = rng.exponential(size=(min(_DRAWS_AT_ONCE, DRAWS - start), prompts + 1))
        below = below + (sums(weights[:, :-1]) + worst * weights[:, -1:] <= 0).sum(axis=0)
    return np.asarray(below / DRAWS, np.float64)


def prompts_needed(score: Floats, kept: Floats, up: Floats, worst: float, delta: float) -> Floats:
    """About how many prompts like these certify each threshold, ``[points]``; infinite where the mean looks no higher
    than 0, or it would be more than :data:`MOST_PROMPTS`. Arguments as in :func:`p_values`.

    A quarter of the one worst prompt counts among them: what few prompts did not meet made such estimates too low by
    half. Least n with n·mean − z·√n·deviation ≥ −worst·ln(1/δ): what chance may take away, and the one worst prompt of
    :func:`p_values`, whose exponential weight is that large with probability δ.
    """
    order, ends = _points(score)
    sums, squares = (
        base.sum() + np.append(0.0, np.cumsum((other - base)[order]))[ends]
        for base, other in ((kept, up), (kept**2, up**2))
    )
    return prompts_needed_of(sums, squares, len(score), worst, delta)


def prompts_needed_of(sums: Floats, squares: Floats, prompts: int, worst: float, delta: float) -> Floats:
    """The same for any values of so many prompts, by their sums and sums of squares, ``[points]`` each."""
    from scipy.special import ndtri

    mean, square = ((total + _UNMET * bad) / (prompts + _UNMET) for total, bad in ((sums, worst), (squares, worst**2)))
    spread = max(0.0, float(ndtri(1 - delta))) * np.sqrt(np.maximum(square - mean**2, 0))
    positive = np.where(mean > 1e-9, mean, np.nan)
    root = (spread + np.sqrt(spread**2 - 4 * positive * worst * math.log(1 / delta))) / (2 * positive)
    return np.where(np.isnan(root) | (root**2 > MOST_PROMPTS), np.inf, np.ceil(root**2))


def _points(score: Floats) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The order in which prompts go up, and how many are up at each point of the curve."""
    order, ends = descending(score)
    return order, ends if np.isnan(score[order[0]]) else np.append(0, ends)


def certified_thresholds(scores: Floats, needed: Bools, target: RiskAtMost) -> Floats:
    """All thresholds of the grid whose risk is certified, the safest first; maybe none.

    Args:
        scores: the router's, ``[prompts]``; NaN goes up.
        needed: whether the large answer scored higher, ``[prompts]``.
        target: the risk and the confidence.
    """
    # losses at t: prompts that need the large model and score below t
    losses: npt.NDArray[np.intp] = np.searchsorted(np.sort(scores[needed & ~np.isnan(scores)]), GRID, side="left")
    rejected = binomial_p_value(losses, len(scores), target.alpha) <= target.delta
    return GRID[: len(GRID) if rejected.all() else int(np.argmin(rejected))]
