"""The arithmetic of experiments: pure functions of arrays, one value a prompt.

Prompts that come from one template or one conversation are alike, and a group counts as one piece of evidence (Miller,
arXiv:2411.00640): wherever groups are given, they are what is drawn, left out and counted. scipy is imported where it
is used, so that a page paints before it is there.
"""

from app.experiments.statistics.agreement import Agreement, Flips, LengthBias, agreement, length_bias, position_flips
from app.experiments.statistics.intervals import Interval, quantile_interval, share_interval
from app.experiments.statistics.means import Grouped, mean_interval
from app.experiments.statistics.multiplicity import Holm, holm
from app.experiments.statistics.noninferiority import NonInferiority, State, noninferiority
from app.experiments.statistics.paired import (
    difference_interval,
    difference_p_value,
    tango_bounds,
    too_few_groups,
)
from app.experiments.statistics.ratios import GeometricRatio, geometric_ratio
from app.experiments.statistics.shapley import (
    Attribution,
    Gears,
    Interplay,
    NoOrderingError,
    attribution,
    interplay,
    pairs,
)

__all__ = [
    "Agreement",
    "Attribution",
    "Flips",
    "Gears",
    "GeometricRatio",
    "Grouped",
    "Holm",
    "Interplay",
    "Interval",
    "LengthBias",
    "NoOrderingError",
    "NonInferiority",
    "State",
    "agreement",
    "attribution",
    "difference_interval",
    "difference_p_value",
    "geometric_ratio",
    "holm",
    "interplay",
    "length_bias",
    "mean_interval",
    "noninferiority",
    "pairs",
    "position_flips",
    "quantile_interval",
    "share_interval",
    "tango_bounds",
    "too_few_groups",
]
