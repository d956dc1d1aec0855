"""How long runs are kept, and what was pruned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

MOST_DAYS = 36_500
MOST_RUNS = 10**12


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """How long runs are kept. Where both parts are set, a run must satisfy both to stay; with neither all stay.

    Raises:
        ValueError: a part is not at least 1, or is out of all reason.
    """

    keep_days: int | None = None
    """Older runs go."""
    keep_runs: int | None = None
    """All but this many go, the newest stay."""

    def __post_init__(self) -> None:
        for name, value, most in (("days", self.keep_days, MOST_DAYS), ("runs", self.keep_runs, MOST_RUNS)):
            if value is not None and not 1 <= value <= most:
                raise ValueError(f"How many {name} are kept must be a whole number from 1 to {most:,}, or not set.")

    def __bool__(self) -> bool:
        """Whether anything is ever pruned."""
        return self.keep_days is not None or self.keep_runs is not None


KEEP_ALL = RetentionRule()


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was pruned so far."""

    runs: int
    before: datetime
    """The newest of them was started before this moment."""
    at: datetime
    """When some were pruned last."""
