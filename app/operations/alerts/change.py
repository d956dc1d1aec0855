"""Whether a figure is beyond a limit, or has changed, as far as the runs can tell.

Rules are looked at twice a minute: chance must hardly ever move them. Bounds err once in a thousand looks for a change,
which is also to be as large as the rule says, and once in a hundred for a limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from app.store import Condition, Counted, Moments
from engine import wilson_interval

_LIMIT_LEVEL = 0.98
_CHANGE_LEVEL = 0.998


@dataclass(frozen=True, slots=True)
class Value:
    """A figure over a stretch of time, with its bounds."""

    value: float
    low: float
    high: float
    runs: int


def value_of(measured: Counted | Moments, *, level: float = _LIMIT_LEVEL) -> Value | None:
    """A share with Wilson's interval, a ratio with the normal one of a ratio of sums; ``None`` where nothing was
    measured."""
    if isinstance(measured, Counted):
        if measured.share is None:
            return None
        return Value(measured.share, *wilson_interval(measured.bad, measured.total, level), measured.total)
    ratio, variance = measured.ratio, measured.variance
    if ratio is None or variance is None:
        return None
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance)
    return Value(ratio, ratio - half, ratio + half, measured.runs)


def is_beyond(measured: Counted | Moments, condition: Condition, limit: float, *, least: int) -> bool | None:
    """Whether a figure is above or below a limit, and not by chance; ``None`` with fewer runs than ``least``."""
    found = value_of(measured)
    if found is None or found.runs < least:
        return None
    return found.low > limit if condition is Condition.ABOVE else found.high < limit


def has_changed(
    recent: Counted | Moments, before: Counted | Moments, condition: Condition, limit: float, *, least: int
) -> bool | None:
    """Whether a figure rose or fell by more than a share ``limit`` of what it was, and not by chance: the difference's
    interval, by Newcombe's hybrid score method (Statist. Med. 17, 1998, method 10), is on one side of 0.

    ``None`` with fewer runs than ``least``, now or before.
    """
    now, then = value_of(recent, level=_CHANGE_LEVEL), value_of(before, level=_CHANGE_LEVEL)
    if now is None or then is None or min(now.runs, then.runs) < least:
        return None
    difference = now.value - then.value
    rose = difference - math.hypot(now.value - now.low, then.high - then.value) > 0
    fell = difference + math.hypot(now.high - now.value, then.value - then.low) < 0
    moved = {Condition.RISES: rose, Condition.FALLS: fell, Condition.DRIFTS: rose or fell}[condition]
    return moved and abs(difference) >= limit * abs(then.value)
