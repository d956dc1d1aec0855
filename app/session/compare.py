"""What a session remembers of the Compare page: what is compared, the baseline among it, and how it is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from app.session.options import ChosenOption

WHAT = ChosenOption("compare-what", "what")
BASELINE = ChosenOption("compare-baseline", "baseline")
"""The id of the run that the others are held against."""
PINNED = ChosenOption("compare-pinned", "baseline")
"""The id of the configuration that the others are held against."""
EXPERIMENT = ChosenOption("compare-experiment", "experiment")
"""Whose runs configurations are compared by."""
PERIOD = ChosenOption("compare-period", "period")
"""When they were started."""
ORDER = ChosenOption("compare-order", "order")
SETTINGS = ChosenOption("compare-settings", "settings")

CONFIGURATIONS_QUERY = "configurations"
"""The query parameter that holds the compared configurations' ids, in order, with commas between."""
ALL_RUNS = "all"
"""Stands for no experiment."""


class What(StrEnum):
    """What is compared."""

    RUNS = "Runs"
    CONFIGURATIONS = "Whole configurations"


class Order(StrEnum):
    """In which order figures are shown."""

    USUAL = "As usual"
    CHANGED = "Most changed first"


class Settings(StrEnum):
    """Which settings are listed."""

    DIFFERENT = "Differences only"
    ALL = "All"


def of_configurations(ids: Iterable[str], experiment: str = ALL_RUNS) -> dict[str, str]:
    """The query parameters of a comparison of configurations.

    Args:
        ids: of the configurations, or hashes that runs of them are kept under.
        experiment: whose runs they are compared by.
    """
    return {
        WHAT.parameter: What.CONFIGURATIONS,
        CONFIGURATIONS_QUERY: ",".join(dict.fromkeys(ids)),
        EXPERIMENT.parameter: experiment,
    }
