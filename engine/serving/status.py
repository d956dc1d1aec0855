"""What the engine is doing and holding now, as snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import SHARED_SALT, Backend, Message, Precision


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
    is_system: bool = False
    """Whether it is a system prompt kept for itself."""
    tokens: int
    nbytes: int
    created: float
    """Seconds since 1970, like ``used``."""
    used: float
    hits: int
    reused_tokens: int
    """Of all hits together."""
    saved_s: float
    """Derived: prefill that the hits have saved, at the pace the sequence was computed with."""
    messages: tuple[Message, ...]

    @property
    def shared_as(self) -> str | None:
        """The name under which an administrator shares it with every session; ``None`` if it is one session's own."""
        return self.salt.removeprefix(SHARED_SALT) if self.salt.startswith(SHARED_SALT) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictedSequence:
    """One sequence whose KV has left."""

    salt: str
    tokens: int
    reason: str
    when: float
    """Seconds since 1970."""
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    """What the prefix cache holds now."""

    budget_bytes: int
    kept: tuple[KeptSequence, ...]
    """Longest unused first."""
    verified: int = 0
    """Reused prefixes that were computed anew and compared since the engine started."""
    mismatches: int = 0
    """How many of them gave other logits."""
    evicted: tuple[EvictedSequence, ...]
    """The latest ones, the last one last; those that a longer one replaced are left out."""

    def would_stay(self, budget_bytes: int) -> int:
        """How many of the sequences another budget would keep: the latest used, while they fit."""
        left, stay = budget_bytes, 0
        for sequence in reversed(self.kept):
            left -= sequence.nbytes
            if left < 0:
                break
            stay += 1
        return stay

    @property
    def used_bytes(self) -> int:
        """Bytes of all of it."""
        return sum(sequence.nbytes for sequence in self.kept)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine is doing now."""

    running: int
    """Requests and units of the labs that have begun."""
    queued: int
    """Those that have not."""
    resident: tuple[ResidentModel, ...]
    device: str
    """Where models run: "cpu", or the GPU's name. "cpu" too until the first request has found a GPU."""
    kv_share: float = 0.0
    """How much of the memory for running requests' KV they take, 0 to 1."""
    kv_bytes: int = 0
    """What they take."""
    preemptions: int = 0
    """How often a running request had to give its KV back, and read it again later."""
