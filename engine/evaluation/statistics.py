"""What a score on some tasks can tell, and what it cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb, sqrt
from statistics import NormalDist


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
        tail = sum(comb(self.flips, k) for k in range(min(self.lost, self.gained) + 1))
        # exact integers up to here: 2^n itself overflows a float from n = 1024 on
        return float(min(Fraction(1), Fraction(2 * tail, 2**self.flips)))


def compare_outcomes(before: Sequence[bool], after: Sequence[bool]) -> PairedOutcomes:
    """Count two systems' outcomes, in the same order of tasks.

    Raises:
        ValueError: they are not equally many.
    """
    pairs = Counter(zip(before, after, strict=True))
    return PairedOutcomes(
        both_right=pairs[True, True],
        lost=pairs[True, False],
        gained=pairs[False, True],
        both_wrong=pairs[False, False],
    )


def wilson_interval(right: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (J. Am. Stat. Assoc. 22, 1927) of an accuracy: low and high, 0 to 1.

    Raises:
        ValueError: ``right`` of ``total`` is no share, or the confidence is not between 0 and 1.
    """
    if not 0 <= right <= total or total < 1:
        raise ValueError(f"{right} of {total} is no share")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = right / total
    centre = share + z**2 / (2 * total)
    half = z * sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
