"""How many times faster: ratios of paired positive figures, as geometric means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.experiments.statistics.intervals import LEVEL, Interval
from app.experiments.statistics.means import Grouped, student_interval


@dataclass(frozen=True, slots=True)
class GeometricRatio:
    """baseline / candidate over prompts: above 1 where the candidate takes less."""

    ratio: float
    interval: Interval | None
    """``None`` where the ratios show no spread: of one group, or all equal."""
    prompts: int


def geometric_ratio(
    baseline: npt.ArrayLike, candidate: npt.ArrayLike, groups: npt.ArrayLike | None = None, level: float = LEVEL
) -> GeometricRatio:
    """The geometric mean of per-prompt ratios, with Student's interval of the logarithms over groups.

    Args:
        baseline: seconds, or another positive figure, ``[prompts]``.
        candidate: the same of the candidate.
        groups: labels ``[prompts]``.
        level: as in :class:`Interval`.

    Raises:
        ValueError: there are no figures, not equally many, or one is not above 0.
    """
    before, after = (np.asarray(each, np.float64) for each in (baseline, candidate))
    if len(before) != len(after):
        raise ValueError(f"{len(before)} figures are paired with {len(after)}")
    if not ((before > 0).all() and (after > 0).all()):
        raise ValueError("a ratio needs figures above 0")
    logs = Grouped.of(np.log(before) - np.log(after), groups)
    ratio = float(np.exp(logs.mean))
    if len(logs) == 1 or logs.standard_error < 1e-12:
        return GeometricRatio(ratio, None, logs.prompts)
    found = student_interval(logs, level)
    interval = Interval(float(np.exp(found.low)), float(np.exp(found.high)), level, f"{found.method} of logarithms")
    return GeometricRatio(ratio, interval, logs.prompts)
