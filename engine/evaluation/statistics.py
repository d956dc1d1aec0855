"""What a score on some tasks can tell, and what it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedOutcomes:
    """Two systems' answers to the same tasks, counted by who was right."""

    both_right: int
    lost: int
    """Right before, wrong after."""
    gained: int
    """Wrong before, right after."""
    both_wrong: int

    @property
    def flips(self) -> int:
        """Answers whose correctness changed, in either direction."""
        return self.lost + self.gained

    @property
    def p_value(self) -> float:
        """McNemar's exact test (two-sided binomial over the flips): how often chance alone would give
        a split as uneven as this; 1 where nothing flipped."""
        raise NotImplementedError


def compare_outcomes(before: Sequence[bool], after: Sequence[bool]) -> PairedOutcomes:
    """Count two systems' outcomes, in the same order of tasks.

    Raises:
        ValueError: they are not equally many.
    """
    raise NotImplementedError


def wilson_interval(right: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (J. Am. Stat. Assoc. 22, 1927) of an accuracy: low and high, 0 to 1.

    Raises:
        ValueError: ``right`` is not between 0 and ``total``, or the confidence not between 0 and 1.
    """
    raise NotImplementedError
