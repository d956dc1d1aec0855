"""What the judging side of the store hands out and takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.store.experiments.records import JudgeId, NoVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A run that a judge may be asked about."""

    run_id: str
    created_at: datetime
    config_hash: str
    model: str
    precision: str
    tier: str
    """Of a cascade, who answered; else the model and its precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJudgement:
    """What a judge says of one run, or that it says nothing."""

    run: Candidate
    judge: JudgeId
    score: float | None
    """0 to 1; ``None`` without a verdict."""
    reason: str
    no_verdict: NoVerdict | None
    detail: str
    """What it wrote instead of a verdict, or what went wrong."""
    seconds: float
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float
    """Derived: in the currency of the price file."""


@dataclass(frozen=True, slots=True)
class ScoreSums:
    """Scores of runs that began in one quarter of an hour, of one configuration and tier, by one judge."""

    begins: datetime
    judge: JudgeId
    config_hash: str
    model: str
    tier: str
    count: int
    total: float
    squares: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeCounts:
    """How often a judge was asked, and what of."""

    judge: JudgeId
    asked: int
    unanswered: Mapping[NoVerdict, int]
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    uncounted: int
    """Questions whose tokens nobody counted."""
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A run of which a judge and somebody else think otherwise: another judge, or whoever rated it."""

    run_id: str
    created_at: datetime
    model: str
    tier: str
    prompt: str
    """Its beginning."""
    judge: JudgeId
    score: float
    reason: str
    other: JudgeId | None
    """``None`` for a person's thumb."""
    other_score: float
    """Of a thumb, 1 or 0."""
    other_reason: str

    @property
    def apart(self) -> float:
        """How far."""
        return abs(self.score - self.other_score)
