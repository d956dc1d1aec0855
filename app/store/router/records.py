"""What the Router lab's side of the store hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.cascade import Evidence, RouterProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSet:
    """A set of prompts, by name."""

    sha256: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTier:
    """How much one tier has answered of a set, under one set of weights."""

    tier: str
    weights_sha256: str
    answers: int
    disturbed: int | None
    """Answers whose times others held up; ``None`` where none tells."""
    last_at: datetime
    environment: Mapping[str, Any]
    """Of the latest answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptProfile:
    """One version of a router profile."""

    id: str
    version: int
    """Counts up from 1 for each name."""
    ladder: str
    """Its tiers, from the smallest up."""
    created_at: datetime
    active: bool
    """Whether the cascade uses it on this ladder."""
    profile: RouterProfile
    evidence: Evidence | None = None
    """What it is judged by; ``None`` for one that came without."""
