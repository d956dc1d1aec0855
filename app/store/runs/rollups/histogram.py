"""Histograms of durations with bins of equal ratio: percentiles of any union of them, to 1 %.

DDSketch (Masson, Rim and Lee, VLDB 2019): bin i holds (γ^(i−1), γ^i] and stands for 2 γ^i / (γ + 1), which is at most
(γ − 1) / (γ + 1) of any value in it away.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

RELATIVE_ERROR = 0.01
"""By so much of itself a percentile is off at most."""
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = math.log(_GAMMA)
_LOWEST_S, _HIGHEST_S = 1e-6, 1e6
_FIRST = math.ceil(math.log(_LOWEST_S) / _LOG_GAMMA)
BINS = math.ceil(math.log(_HIGHEST_S) / _LOG_GAMMA) - _FIRST + 1
"""Of one histogram: from a microsecond to eleven days. What is shorter counts into the first, which stands for 0, and
what is longer into the last."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def bins_of(seconds: Floats) -> Ints:
    """The place of each value among the bins, 0 to `BINS` − 1, ``[values]``."""
    within = np.clip(seconds, _LOWEST_S, _HIGHEST_S)
    return np.ceil(np.log(within) / _LOG_GAMMA).astype(np.int64) - _FIRST


def percentile(counts: Ints, share: float) -> Floats:
    """Nearest-rank percentiles: the bin of the least value that is not below its share of all values.

    Args:
        counts: ``[groups, BINS]``.
        share: 0 to 1.

    Returns:
        Seconds, ``[groups]``; NaN where there is nothing to rank.
    """
    below = np.cumsum(counts, axis=1)
    total = below[:, -1]
    places = np.argmax(below >= share * total[:, None], axis=1)
    seconds = 2 * np.exp(_LOG_GAMMA * (places + _FIRST)) / (_GAMMA + 1)
    return np.where(total > 0, np.where(places > 0, seconds, 0.0), np.nan)
