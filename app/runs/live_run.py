"""The one fold of a run's events: what has been told of it so far.

Whoever needs a run while it happens reads it from here: its recording in the store, a lane of the Playground, a turn
of the chat, the labs' measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.store import Reports, RunOutcome, RunStatus, Timeline
from engine.types import (
    Escalated,
    Event,
    FinishReason,
    Heartbeat,
    Loading,
    PrefillDone,
    Queued,
    RemoteReport,
    RunFailed,
    RunFinished,
    RunMetrics,
    Started,
    TokenEvent,
    token_ids_of,
)


class Phase(StrEnum):
    """How far a run has come."""

    WAITING = "waiting"
    """Nothing was heard of it yet; in a race, it waits for the lane before it."""
    QUEUED = "queued"
    """For requests of others."""
    LOADING = "loading"
    """The engine or the model is being made ready; not timed."""
    READING = "reading"
    """The prompt."""
    WRITING = "writing"
    OVER = "over"


@dataclass(slots=True, kw_only=True)
class LiveRun:
    """One run, filled in event by event. Its end is heard once; what comes after it changes nothing."""

    phase: Phase = Phase.WAITING
    status: RunStatus = RunStatus.RUNNING
    queue_position: int = 0
    queue_reason: str = ""
    """What it waits for, in the user's words."""
    loading: Loading | None = None
    """What was last said of loading."""
    load_s: float = 0.0
    elapsed_s: float = 0.0
    """Since the request arrived, loading left out once it is known."""
    prefill: PrefillDone | None = None
    """The last one: each tier of a cascade reads the prompt."""
    tokens: list[TokenEvent] = field(default_factory=list)
    """Of the answer so far; a larger tier that is asked begins anew."""
    escalated: Escalated | None = None
    """The last time a larger tier was asked."""
    end: RunFinished | RunFailed | None = None
    """The engine's last event."""
    finish_reason: FinishReason | None = None
    metrics: RunMetrics | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What the figures hold for."""
    reports: Reports = field(default_factory=Reports)
    error: str | None = None
    """Why it failed, for the user."""
    error_kind: str | None = None
    """The class name of the error."""
    _final_text: str | None = None
    """The answer as its end tells it."""

    def take(self, event: Event) -> None:
        """Note what an event tells."""
        if self.end is not None:
            return
        match event:
            case Queued(position=position, reason=reason):
                self.phase, self.queue_position, self.queue_reason = Phase.QUEUED, position, reason
            case Loading():
                self.phase, self.loading = Phase.LOADING, event
            case Started(load_s=load_s):
                self.phase, self.load_s = Phase.READING, load_s
            case PrefillDone():
                self.phase, self.prefill = Phase.WRITING, event
            case TokenEvent():
                self.phase, self.elapsed_s = Phase.WRITING, event.t
                self.tokens.append(event)
            case Escalated():
                self.phase, self.escalated = Phase.READING, event
                self.tokens = []
            case Heartbeat(elapsed_s=elapsed_s):
                self.elapsed_s = max(0.0, elapsed_s - self.load_s)
            case RunFinished():
                self.end, self._final_text, self.finish_reason = event, event.text, event.finish_reason
                self.metrics, self.environment, self.reports = event.metrics, event.environment, Reports.of(event)
                self._end(RunStatus.STOPPED if event.finish_reason == "abort" else RunStatus.FINISHED)
            case RunFailed():
                self.end, self.error, self.error_kind = event, event.error, event.kind
                self._end(RunStatus.FAILED)

    def stop(self) -> None:
        """End it where it stands, unless it is over."""
        if self.phase is not Phase.OVER:
            self.finish_reason = "abort"
            self._end(RunStatus.STOPPED)

    @property
    def text(self) -> str:
        """The answer so far, put together when it is asked for: most tokens come and go without anybody looking."""
        if self._final_text is not None:
            return self._final_text
        return "".join([token.text for token in self.tokens])

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Of the answer so far; empty where a server gives it."""
        return token_ids_of(self.tokens)

    @property
    def timeline(self) -> Timeline | None:
        """The tokens of the answer so far, as they are stored; ``None`` before the first."""
        return Timeline.from_events(self.tokens) if self.tokens else None

    @property
    def remote(self) -> RemoteReport | None:
        """What the server told that answered; ``None`` for a run on this machine."""
        return RemoteReport.of(self.environment)

    @property
    def disturbed(self) -> str | None:
        """What held it up, for the user; ``None`` where nothing did, or nobody knows."""
        found = self.reports.disturbance
        return found.why if found and found.is_disturbed else None

    @property
    def loading_now(self) -> Loading | None:
        """What is being loaded for it right now, and how far that is; ``None`` where nothing is."""
        return self.loading if self.phase is Phase.LOADING else None

    @property
    def loading_stage(self) -> str | None:
        """What is being loaded for it right now, for the user; ``None`` where nothing is."""
        return self.loading_now.stage if self.loading_now else None

    def to_outcome(self) -> RunOutcome:
        """How a run that is over ended, as it is stored."""
        return RunOutcome(
            status=self.status,
            text=self.text,
            finish_reason=self.finish_reason,
            error=self.error,
            error_kind=self.error_kind,
            metrics=self.metrics,
            environment=self.environment,
            **self.reports.named(),
        )

    def _end(self, status: RunStatus) -> None:
        self.phase, self.status = Phase.OVER, status
