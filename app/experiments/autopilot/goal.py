"""What an autopilot is to keep, and how far a configuration keeps it by what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import NormalDist
from typing import Any, Self

import numpy as np

from app import units
from app.experiments.planning.design import DesignError

PERCENTILE, MARGIN_POINTS, MINUTES = 95, 2.0, 15.0
"""What an autopilot begins with."""


class Figure(StrEnum):
    """The latency that a service level objective (SLO) limits."""

    TTFT = "TTFT"
    TPOT = "TPOT"
    E2E = "E2E"


class Limit(StrEnum):
    """What can be in the way."""

    LATENCY = "latency"
    QUALITY = "quality"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The limits, and the time to find a configuration within them."""

    figure: Figure
    percentile: int
    """Of prompts, 1 to 99."""
    seconds: float
    """The SLO: the figure's percentile is at most so long."""
    margin_points: float
    """By so many percentage points quality may lie below the baseline's."""
    memory_bytes: float | None = None
    """The most that weights and KV of a request may take together; ``None`` for no ceiling."""
    budget_s: float
    """The most that all measurements may take, loading included."""

    def __post_init__(self) -> None:
        for holds, message in (
            (1 <= self.percentile <= 99, "The percentile must be between 1 and 99."),
            (math.isfinite(self.seconds) and self.seconds > 0, "The SLO must be above 0 s."),
            (0 < self.margin_points < 100, "The margin must be above 0 and below 100 points."),
            (self.memory_bytes is None or 0 < self.memory_bytes < math.inf, "The memory ceiling must be above 0."),
            (math.isfinite(self.budget_s) and self.budget_s > 0, "The time budget must be above 0 s."),
        ):
            if not holds:
                raise DesignError(message)

    @property
    def latency_name(self) -> str:
        """The figure that is limited: "p95 TTFT"."""
        return f"p{self.percentile} {self.figure}"

    @property
    def text(self) -> str:
        """All limits, in words."""
        memory = "" if self.memory_bytes is None else f", memory within {units.memory(self.memory_bytes)}"
        return (
            f"{self.latency_name} within {units.seconds(self.seconds)}, quality at most {self.margin_points:g} points "
            f"below the baseline's{memory}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**tree, "figure": Figure(tree["figure"])})


@dataclass(frozen=True, slots=True)
class Observed:
    """What a configuration did on the prompts that it was asked."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """0 to 1, by the prompt's id, of prompts that have a checker; a failure is 0."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Of the figure that is limited, by the prompt's id; infinite where there was no answer."""
    memory_bytes: float | None = None
    """The most that weights and KV took together."""

    def with_more(self, other: Observed) -> Observed:
        """Together with what it did on further prompts."""
        known = [each for each in (self.memory_bytes, other.memory_bytes) if each is not None]
        return Observed(
            {**self.scores, **other.scores}, {**self.seconds, **other.seconds}, max(known) if known else None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of a configuration from what was observed."""

    name: str
    prompts: int
    """Timed."""
    quality: float | None
    """Mean score, 0 to 1; ``None`` where nothing was scored."""
    difference: float | None
    """To the baseline on the same prompts, as a share."""
    kept: float
    """How probable it is that quality is within the margin, 0 to 1."""
    latency_s: float | None
    """Of the percentile that is limited; infinite where too many prompts got no answer."""
    memory_bytes: float | None

    @classmethod
    def of(cls, name: str, observed: Observed, baseline: Observed, goal: Goal) -> Self:
        """Read what was observed, quality against the baseline's on the prompts that both have a score for.

        The probability is of the normal distribution of the mean difference with half an observation added to each of
        the four outcomes of a pair (Agresti and Min, Stat. Med. 24, 2005), so that few prompts never make it sure.
        """
        common = [id for id in observed.scores if id in baseline.scores]
        differences = np.array([observed.scores[id] - baseline.scores[id] for id in common])
        count = len(common) + 2
        mean = float(differences.sum()) / count
        error = math.sqrt(((float((differences**2).sum()) + 1) / count - mean**2) / count)
        return cls(
            name=name,
            prompts=len(observed.seconds),
            quality=float(np.mean(list(observed.scores.values()))) if observed.scores else None,
            difference=float(differences.mean()) if common else None,
            kept=1.0 if observed is baseline else NormalDist().cdf((mean + goal.margin_points / 100) / error),
            latency_s=_percentile(list(observed.seconds.values()), goal.percentile),
            memory_bytes=observed.memory_bytes,
        )

    def excess(self, goal: Goal) -> dict[Limit, float]:
        """By how much limits are broken, as a share of each; of quality, by how many hundredths of points it lies below
        the floor. Quality counts as broken where that is the more probable."""
        found: dict[Limit, float] = {}
        if self.latency_s is None or self.latency_s > goal.seconds:
            found[Limit.LATENCY] = math.inf if self.latency_s is None else self.latency_s / goal.seconds - 1
        if self.kept < 0.5:
            found[Limit.QUALITY] = max(0.0, -(self.difference or 0.0) - goal.margin_points / 100)
        if goal.memory_bytes is not None and (self.memory_bytes or 0.0) > goal.memory_bytes:
            found[Limit.MEMORY] = (self.memory_bytes or 0.0) / goal.memory_bytes - 1
        return found

    def worth(self, goal: Goal) -> float:
        """By which configurations go on: how many times as fast as the SLO, times the probability that quality is kept
        (expected constrained improvement: Gardner et al., ICML 2014). 0 above the memory ceiling, which no further
        prompt mends."""
        if not self.latency_s or math.isinf(self.latency_s) or Limit.MEMORY in self.excess(goal):
            return 0.0
        return self.kept * goal.seconds / self.latency_s


def _percentile(seconds: list[float], percentile: int) -> float | None:
    if not seconds:
        return None
    if math.isinf(max(seconds)):  # nothing can be put between a number and none
        return float(np.percentile(seconds, percentile, method="higher"))
    return float(np.percentile(seconds, percentile))
