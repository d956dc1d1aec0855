"""What the labs' side of the store hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.evaluation import DivergenceStats


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCorpus:
    """A corpus that was measured on, without its text."""

    sha256: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusResult:
    """What is known of one precision on one corpus."""

    id: str
    model: str
    weights_sha256: str
    precision: str
    corpus_sha256: str
    corpus_name: str
    windows: int
    """How many there are to score."""
    scored: int
    """How many are scored."""
    created_at: datetime
    stats: DivergenceStats | None
    """``None`` until every window is scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedResult:
    """How fast one precision answered short greedy requests."""

    model: str
    weights_sha256: str
    precision: str
    created_at: datetime
    tokens_per_second: float
    """Median of the runs' decode rates."""
    ttft_s: float
    """Median of the runs, waiting left out."""
    weights_bytes: int
    environment: Mapping[str, Any]

    @property
    def disturbed(self) -> str | None:
        """What held up all of its runs, for the user; ``None`` where one was not disturbed, or nobody knows."""
        return self.environment.get("disturbed")


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """What was answered to one task."""

    text: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What is known of one precision on one set of tasks."""

    id: str
    model: str
    weights_sha256: str
    precision: str
    tasks_sha256: str
    tasks: int
    """How many there are to answer."""
    created_at: datetime
    answers: Mapping[str, TaskAnswer]
    """By the task's id; all of them once it is finished."""

    @property
    def finished(self) -> bool:
        """Whether every task was answered."""
        return len(self.answers) == self.tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmLimits:
    """Beyond these a precision's answers count as degraded."""

    kld_mean: float = 0.15
    """In nats; more than this raises the alarm."""
    same_top: float = 0.85
    """Top-1 agreement, 0 to 1; less than this raises the alarm."""
