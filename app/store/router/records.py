"""What the Router lab's side of the store hands out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.cascade import RouterProfile, TierAnswer
from engine.evaluation.judge import Verdict
from engine.types import Tier

_ESTIMATED = "estimated"


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
    first_at: datetime
    last_at: datetime
    environment: Mapping[str, Any]
    """Of the latest answer."""
    machines: tuple[str, ...]
    """What recorded it, in words, the latest first; several where it went on elsewhere, or in another setting."""
    own: int
    """Answers that the viewer had recorded."""
    others: int
    """Answers that somebody else had recorded. Of the rest nobody knows."""
    to_renew: int
    """Older answers that stay until they are recorded again."""
    estimated: int = 0
    """Answers whose times are estimated, for they were given beside others."""
    timed_alone: int = 0
    """From so many that had the engine alone the latest of these are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """One answer of a recording."""

    set_sha256: str
    prompt_id: str
    created_at: datetime
    answer: TierAnswer
    environment: Mapping[str, Any]

    @property
    def is_estimated(self) -> bool:
        """Whether its times are estimated, for it was given beside others."""
        return are_estimated(self.environment)

    @property
    def is_quiet(self) -> bool:
        """Whether its times were measured, and it is known that nothing held it up."""
        return not self.is_estimated and self.environment.get("disturbed", "not known") is None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMark:
    """What somebody says of an answer, whatever its checker says."""

    prompt_id: str
    tier: str
    answer_sha256: str
    """:func:`answer_sha256` of the text that was read."""
    right: bool
    created_at: datetime
    own: bool
    """Whether it is the viewer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptVerdict:
    """What a judge says of an answer."""

    judge: Tier
    weights_sha256: str
    """The judge's."""
    verdict: Verdict
    created_at: datetime


def answer_sha256(text: str) -> str:
    """What a mark or a verdict is about: 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def estimated_from(timed_alone: int) -> dict[str, Any]:
    """What an answer's environment says whose times are estimated from those of so many that had the engine alone."""
    return {"timing": _ESTIMATED, "timed_alone": timed_alone}


def are_estimated(environment: Mapping[str, Any]) -> bool:
    """Whether an answer's environment says that its times are estimated; where it says nothing, they are measured."""
    return environment.get("timing") == _ESTIMATED


def machine_words(environment: Mapping[str, Any]) -> str:
    """The processor, threads and kernel that answers are from: "Xeon Platinum, 2 threads, native"."""
    threads = environment.get("threads")
    device = environment.get("device")
    parts = [
        environment.get("cpu") if device in (None, "cpu") else device,
        f"{threads} {'thread' if threads == 1 else 'threads'}" if threads else None,
        environment.get("kernel") or environment.get("cpu_capability"),
    ]
    return ", ".join(str(part) for part in parts if part)


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
    data_set: str | None = None
    """Id of the data set it was made from here; ``None`` for one that was imported."""
