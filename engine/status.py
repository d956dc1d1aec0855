"""What the engine is doing and holding now, as snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import Backend, Message, Precision


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """One copy of weights in memory."""

    model: str
    backend: Backend
    precision: Precision
    weights_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSequence:
    """One sequence whose KV is kept for later requests."""

    weights_sha256: str
    precision: str
    salt: str
    """Whose it is."""
    tokens: int
    nbytes: int
    created: float
    """Seconds since 1970, like ``used``."""
    used: float
    hits: int
    reused_tokens: int
    """Of all hits together."""
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    """What the prefix cache holds now."""

    budget_bytes: int
    kept: tuple[KeptSequence, ...]
    """Longest unused first."""

    @property
    def used_bytes(self) -> int:
        """Bytes of all of it."""
        return sum(sequence.nbytes for sequence in self.kept)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine is doing now."""

    running: bool
    queued: int
    resident: tuple[ResidentModel, ...]
    device: str
    """Where models run: "cpu", or the GPU's name. "cpu" too until the first request has found a GPU."""
