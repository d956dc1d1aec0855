"""What a session remembers of the Compare page: the baseline among the runs, and how they are looked at."""

from __future__ import annotations

from enum import StrEnum

from app.session.options import ChosenOption

BASELINE = ChosenOption("compare-baseline", "baseline")
"""The id of the run that the others are held against."""
ORDER = ChosenOption("compare-order", "order")
SETTINGS = ChosenOption("compare-settings", "settings")


class Order(StrEnum):
    """In which order figures are shown."""

    USUAL = "As usual"
    CHANGED = "Most changed first"


class Settings(StrEnum):
    """Which settings are listed."""

    DIFFERENT = "Differences only"
    ALL = "All"
