"""What is known of a possible drafter before it is tried."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types.gears import SpeculationConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DrafterChoice:
    """One that could draft for a model, or the reason why it cannot."""

    name: str
    """``ngram``, or the model that drafts with its precision."""
    speculation: SpeculationConfig | None
    """The gear with this drafter; ``None`` if it cannot draft."""
    why_not: str | None = None
    """For the user; ``None`` if it can draft."""
    relative_cost: float | None = None
    """Seconds of a drafted token / of the model's own: c of the formula."""
    cost_is_measured: bool = False
    """Whether both were timed here; otherwise it is estimated from the bytes of their weights."""
    expected_acceptance: float | None = None
    """First guess of the share of its tokens that are accepted, before anything was measured."""
    expected_speedup: float | None = None
    """What the formula gives for these at the best γ, up to 8."""
    expected_gamma: int | None = None
