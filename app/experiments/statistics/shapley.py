"""What each gear adds to a figure that was measured with every set of them.

The **Shapley value** of a gear (Shapley, Contributions to the Theory of Games II, 1953) is what it adds when it is
turned on, averaged over the orders in which all can be turned on one after the other. Sets that cannot be combined were
not measured: the average is then over the orders all of whose steps exist. In each order the steps add up to the whole
change, so the values do too.

The **interaction** of two is what one adds more once the other is on, averaged over the orders in which they come next
to each other and can come either way about (Grabisch and Roubens, Int. J. Game Theory 28, 1999).

Both are weighted sums of what was measured, so each prompt has its own, and an interval is that of a mean over prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from app.experiments.statistics.intervals import LEVEL, Floats, Interval
from app.experiments.statistics.means import mean_interval

Gears = frozenset[str]
"""Those that are on."""


class NoOrderingError(ValueError):
    """There is no order in which all gears can be turned on one after the other."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What one gear adds."""

    gear: str
    change: float
    """Mean over prompts, in the figure's unit."""
    interval: Interval | None
    """``None`` where the prompts show no spread; see :func:`~app.experiments.statistics.means.mean_interval`."""


def attribution(
    measured: Mapping[Gears, npt.ArrayLike],
    groups: npt.ArrayLike | None = None,
    level: float = LEVEL,
    within: tuple[float, float] | None = None,
) -> tuple[Attribution, ...]:
    """Shapley values of all gears, by name. They add up to all on − none on.

    Args:
        measured: values ``[prompts]`` of each set of gears that can be combined, the empty one and all among them.
        groups: labels ``[prompts]``.
        level: as in :class:`Interval`.
        within: the least and the most that one value can add, if there are such.

    Raises:
        NoOrderingError: the sets leave no order in which all can be turned on.
        ValueError: values are no numbers or not equally many.
    """
    values = {gears: np.asarray(each, np.float64) for gears, each in measured.items()}
    found = []
    for gear, weights in shapley_weights(values.keys()).items():
        each = _weighted(values, weights)
        found.append(Attribution(gear, float(each.mean()), mean_interval(each, groups, level, within)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Interplay:
    """What one gear adds with and without another on, averaged over the orders in which the two come next to each
    other and can come either way about."""

    on: Floats
    """What it adds once the other is on, ``[prompts]``."""
    off: Floats
    """What it adds while the other is off, ``[prompts]``."""

    @property
    def extra(self) -> Floats:
        """The interaction: the same whichever of the two is looked at, ``[prompts]``."""
        return self.on - self.off


def interplay(measured: Mapping[Gears, npt.ArrayLike], gear: str, other: str) -> Interplay | None:
    """What ``gear`` adds once ``other`` is on, and while it is off; ``None`` where no order lets them come either way
    about.

    Raises:
        NoOrderingError: as :func:`attribution`.
        ValueError: as :func:`attribution`.
    """
    values = {gears: np.asarray(each, np.float64) for gears, each in measured.items()}
    up, down = orderings(values.keys())
    one, two = frozenset({gear}), frozenset({other})
    ways = {
        before: up[before] * down[before | one | two]
        for before in values
        if not before & (one | two) and all(before | step in values for step in (one, two, one | two))
    }
    total = sum(ways.values())
    if not total:
        return None
    on: dict[Gears, float] = dict.fromkeys(values, 0.0)
    off = dict(on)
    for before, orders in ways.items():
        on[before | one | two] += orders / total
        on[before | two] -= orders / total
        off[before | one] += orders / total
        off[before] -= orders / total
    return Interplay(_weighted(values, on), _weighted(values, off))


def shapley_weights(sets: Set[Gears]) -> dict[str, dict[Gears, float]]:
    """For each gear what every measured set weighs in its Shapley value.

    Raises:
        NoOrderingError: as :func:`attribution`.
    """
    up, down = orderings(sets)
    total = up[_all(sets)]
    weights: dict[str, dict[Gears, float]] = {gear: dict.fromkeys(sets, 0.0) for gear in sorted(_all(sets))}
    for before in sets:
        for gear in _all(sets) - before:
            after = before | {gear}
            if after in sets:
                share = up[before] * down[after] / total
                weights[gear][after] += share
                weights[gear][before] -= share
    return weights


def orderings(sets: Set[Gears]) -> tuple[dict[Gears, int], dict[Gears, int]]:
    """In how many orders each set is reached from none on, and all from each set, by steps that all exist.

    Raises:
        NoOrderingError: as :func:`attribution`.
    """
    top = _all(sets)
    missing = [name for name, each in (("none", frozenset()), ("all", top)) if each not in sets]
    if missing:
        raise NoOrderingError(f"nothing was measured with {' and with '.join(missing)} of {_named(top)} on")
    up, down = dict.fromkeys(sets, 0), dict.fromkeys(sets, 0)
    up[frozenset()] = down[top] = 1
    for gears in sorted(sets, key=len):
        if gears:
            up[gears] = sum(up.get(gears - {gear}, 0) for gear in gears)
    for gears in sorted(sets, key=len, reverse=True):
        if gears != top:
            down[gears] = sum(down.get(gears | {gear}, 0) for gear in top - gears)
    if not up[top]:
        raise NoOrderingError(
            f"{_named(top)} cannot be turned on one after the other: too many of the steps between were not measured"
        )
    return up, down


def pairs(sets: Set[Gears]) -> tuple[tuple[str, str], ...]:
    """All pairs of gears, by name."""
    return tuple(combinations(sorted(_all(sets)), 2))


def _all(sets: Set[Gears]) -> Gears:
    return frozenset().union(*sets)


def _named(gears: Gears) -> str:
    return ", ".join(sorted(gears)) or "no gears"


def _weighted(values: Mapping[Gears, Floats], weights: Mapping[Gears, float]) -> Floats:
    if len({len(each) for each in values.values()}) > 1:
        raise ValueError("every set of gears needs a value for each prompt")
    return np.asarray(sum(weights[gears] * values[gears] for gears in values), np.float64)
