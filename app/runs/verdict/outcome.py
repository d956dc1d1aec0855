"""What a verdict needs to know of one run."""

from __future__ import annotations

from dataclasses import dataclass

from app.store import RunStatus
from engine.types import (
    Backend,
    CascadeReport,
    FinishReason,
    Precision,
    RemoteReport,
    RunConfig,
    RunMetrics,
    Tier,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run that is over, or one of several rounds of a lane."""

    name: str
    """What it is called in the verdict: "Lane A"."""
    config: RunConfig
    status: RunStatus
    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    metrics: RunMetrics | None = None
    tier: str | None = None
    """Of a cascade, who answered."""
    cascade: CascadeReport | None = None
    """Of a cascade, the way up its tiers."""
    remote: RemoteReport | None = None
    """What the server told, if one answered."""
    disturbed: str | None = None
    """Why its speed is not to be relied on, for the user; ``None`` where it is."""

    @property
    def writer(self) -> str:
        """The model that answered."""
        return Tier.from_text(self.tier).model if self.tier else self.config.model

    @property
    def writer_precision(self) -> Precision:
        """The precision of the model that answered; unknown of a server's."""
        return Tier.from_text(self.tier).precision if self.tier else self.config.precision

    @property
    def is_all_here(self) -> bool:
        """Whether no server took part, so that all of its memory is this machine's and known."""
        return not any(tier.is_remote for tier in self.config.ladder)

    @property
    def is_reference(self) -> bool:
        """Whether transformers ran it, and not Gearbox's own decoder."""
        return self.config.backend is Backend.REFERENCE

    @property
    def is_measured(self) -> bool:
        """Whether it has figures to compare: it wrote something."""
        return self.metrics is not None and self.metrics.ttft_s is not None
