"""What measured drafters amount to over several prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from app.runs.invariants import least_passes, speedup_fault
from app.runs.verdict import Figure, Noise, Paired
from app.store import DraftFigures


def fault_of(figures: DraftFigures) -> str | None:
    """What a measured speed-up contradicts; ``None`` where it is sound."""
    passes = least_passes(figures.tokens, figures.accepted_tokens)
    return speedup_fault(figures.speedup, (figures.tokens - 1) / passes) if passes else None


@dataclass(frozen=True, slots=True)
class Summary:
    """One drafter over some prompts."""

    prompts: int
    acceptance_rate: float | None
    """Accepted / drafted tokens of all prompts together; ``None`` where nothing was drafted."""
    acceptance_length: float | None
    """1 + accepted tokens / verification steps."""
    speedup: float | None
    """Median over the prompts of plain TPOT / drafted TPOT, disturbed ones left out where there are others; ``None``
    where no measurement of it is sound."""
    slowest: float | None
    """The least of them."""
    ratios: tuple[float, ...]
    """What it is made of: the speed-up of each prompt, or of each pair of runs where there is but one prompt."""
    faults: tuple[str, ...]
    """What other measurements contradict, a sentence each; their speed-ups are left out."""
    identical: int
    """Tokens that the plain answers have too, from the first on."""
    tokens: int
    disturbed: int
    """Prompts whose speed-up others disturbed."""

    @classmethod
    def of(cls, figures: Sequence[DraftFigures]) -> Self:
        """Of at least one prompt."""
        drafted, accepted = (sum(f.drafted_tokens for f in figures), sum(f.accepted_tokens for f in figures))
        steps = sum(f.verification_steps for f in figures)
        faults = [fault_of(f) for f in figures]
        sound = [f for f, fault in zip(figures, faults, strict=True) if fault is None]
        timed = [f for f in sound if not f.disturbed] or sound
        speedups = tuple(f.speedup for f in timed)
        return cls(
            prompts=len(figures),
            acceptance_rate=accepted / drafted if drafted else None,
            acceptance_length=1 + accepted / steps if steps else None,
            speedup=median(speedups) if speedups else None,
            slowest=min(speedups, default=None),
            ratios=tuple(timed[0].ratios) if len(timed) == 1 and timed[0].ratios else speedups,
            faults=tuple(fault for fault in faults if fault),
            identical=sum(f.identical for f in figures),
            tokens=sum(f.tokens for f in figures),
            disturbed=sum(f.disturbed is not None for f in figures),
        )

    def paired(self, noise: Noise) -> Paired | None:
        """Plain against drafted TPOT, by the rule that decides between faster, slower and tied; ``None`` where no
        measurement is sound."""
        return Paired.of_ratios(Figure.TPOT, self.ratios, noise) if self.ratios else None
