"""Many comparisons at once: one in twenty is "shown" by chance unless that is allowed for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.experiments.statistics.intervals import LEVEL, Floats


@dataclass(frozen=True, slots=True)
class Holm:
    """What stays of some tests where the chance of a single false one is limited."""

    adjusted: Floats
    """p-values to be compared with 1 − level each, ``[tests]``."""
    rejected: npt.NDArray[np.bool_]
    """Which are shown, ``[tests]``."""


def holm(p_values: npt.ArrayLike, level: float = LEVEL) -> Holm:
    """Holm's step-down correction (Scand. J. Stat. 6, 1979): the k-th least of m p-values counts m − k + 1 times, and
    no less than the one before it. It holds however the tests depend on each other.

    Args:
        p_values: ``[tests]``, maybe none.
        level: 1 − the chance that any is rejected wrongly.

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    found = np.asarray(p_values, np.float64)
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError("a p-value is between 0 and 1")
    order = np.argsort(found, kind="stable")
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1)))
    return Holm(adjusted, adjusted <= 1 - level)
