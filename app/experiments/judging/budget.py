"""What a judge's work may take."""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import InvalidRequestError

FIRST_JUDGEMENTS, FIRST_MINUTES = 200, 15
"""What a budget begins with."""
MOST_JUDGEMENTS = 100_000
MOST_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a judge's work may take, each time that it is started."""

    judgements: int
    seconds: float
    """No question is begun after these; those under way are answered."""

    def __post_init__(self) -> None:
        if not 1 <= self.judgements <= MOST_JUDGEMENTS:
            raise InvalidRequestError(f"A budget has 1 to {MOST_JUDGEMENTS:,} judgements.")
        if not 0 < self.seconds <= MOST_SECONDS:
            raise InvalidRequestError("A budget's time must be above 0, and at most a week.")
