"""What the store hands out of drafters that were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.types import SpeculationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFigures:
    """Plain and drafted runs of one prompt, in turn."""

    plain_tpot_s: float
    """Median of the plain runs."""
    drafted_tpot_s: float
    """Median of the drafted runs."""
    tokens: int
    """Of the drafted answer."""
    identical: int
    """How many of them, from the first on, the plain answer has too."""
    drafted_tokens: int
    accepted_tokens: int
    verification_steps: int
    rejections: int
    """Drafts that were not accepted to their end."""
    predicted: float | None = None
    """Speed-up that the formula gives for the acceptance, the costs and the γ of these runs; ``None`` without a γ."""
    disturbed: str | None = None
    """What held up all of the plain or of the drafted runs, for the user; ``None`` where nothing did."""
    ratios: Sequence[float] = ()
    """Plain TPOT / drafted TPOT of each pair of runs; empty where they were not kept yet."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", tuple(self.ratios))

    @property
    def speedup(self) -> float:
        """Plain TPOT / drafted TPOT."""
        return self.plain_tpot_s / self.drafted_tpot_s

    @property
    def alpha(self) -> float | None:
        """Share of the drafted tokens that were looked at and accepted: after a rejection none is looked at."""
        looked_at = self.accepted_tokens + self.rejections
        return self.accepted_tokens / looked_at if looked_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftResult:
    """What one drafter did for one prompt."""

    model: str
    weights_sha256: str
    precision: str
    config_hash: str
    prompt_sha256: str
    speculation: SpeculationConfig
    created_at: datetime
    figures: DraftFigures
    environment: Mapping[str, Any]
