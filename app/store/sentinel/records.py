"""What the sentinel's side of the store hands out and takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from engine.types import GenerationRequest, Message, RunConfig


class RoundCause(StrEnum):
    """Why golden prompts were replayed."""

    SCHEDULE = "schedule"
    CHANGE = "change"
    """Of weights, kernels or version."""
    DEMAND = "on demand"


class Deviation(StrEnum):
    """In what an answer differs from the accepted one."""

    FAILED = "failed"
    """There is no answer."""
    SCORE = "score"
    """Its checker says otherwise than of the accepted one."""
    TOKENS = "tokens"
    KLD = "kld"
    """The distributions along the accepted tokens are further from 16 bits."""
    SLOWER = "slower"
    FASTER = "faster"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPrompt:
    """A prompt with its settings, whose answer is to stay what was accepted."""

    id: str
    name: str
    person_id: str | None
    """Who picked it; ``None`` for the desk."""
    created_at: datetime
    run_id: str | None
    """The run that it was picked from; ``None`` once that was deleted."""
    messages: tuple[Message, ...]
    completion: str | None
    """The text that is continued, where there are no messages."""
    config: Mapping[str, Any]
    """`RunConfig.to_dict`."""
    checker: str | None
    """As of a `Task`; ``None`` where nothing tells whether an answer is right."""
    expected: Any
    baseline_id: str
    """The accepted answer."""

    @property
    def prompt(self) -> str:
        """The user's last message, or the text to be continued."""
        return self.messages[-1].content if self.messages else self.completion or ""

    @property
    def run_config(self) -> RunConfig:
        """Its settings."""
        return RunConfig.from_dict(self.config)

    @property
    def request(self) -> GenerationRequest:
        """What is asked."""
        return GenerationRequest(messages=self.messages, completion=self.completion, config=self.run_config)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAnswer:
    """An answer to a golden prompt: of the run that it was picked from, or of a replay. Or why there is none."""

    id: str
    golden_id: str
    round_id: str | None
    """Of which replay; ``None`` for the one that was picked."""
    created_at: datetime
    run_id: str | None
    """Its run; ``None`` where there is none any more."""
    text: str = ""
    token_ids: tuple[int, ...] = ()
    score: float | None = None
    """The checker's, 0 or 1; ``None`` where there is no checker."""
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    """Weights, kernels, version and machine that it was answered with."""
    ttft_s: tuple[float, ...] = ()
    """Of undisturbed timed answers, each with the engine to itself."""
    tpot_s: tuple[float, ...] = ()
    disturbed: int = 0
    """Timed answers that others held up; their times are not kept."""
    kld: float | None = None
    """Mean KLD from 16 bits along the accepted tokens, nats a token."""
    kld_tokens: int | None = None
    no_kld: str | None = None
    """Why there is none, for the user."""
    failure: str | None = None
    """Why there is no answer, for the user."""
    against_id: str | None = None
    """The accepted answer that it was held against."""
    deviations: tuple[Deviation, ...] = ()
    accepted_at: datetime | None = None
    """When it was accepted as the baseline; ``None`` if it never was."""
    known_at: datetime | None = None
    """When what was found was filed as known."""
    note: str = ""
    """What whoever filed it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelRound:
    """One replay of golden prompts."""

    id: str
    created_at: datetime
    cause: RoundCause
    changes: tuple[str, ...]
    """What had changed since the one before, where that was the cause."""
    golden_ids: tuple[str, ...]
    """What it replays."""
    answered: int
    """Golden prompts with an answer so far, or a reason why there is none."""
    ended_at: datetime | None
    """``None`` while it is under way, or was interrupted: the next one goes on with it."""
