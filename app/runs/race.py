"""One prompt on its way through the lanes: what each has shown so far.

A race lives in the session and survives reruns and page switches. Exactly one script run streams it; any
other script run that comes meanwhile has interrupted that one, and waits for it to let go.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from app.runs.service import RunCreated, RunNotSaved, RunSaved, RunWaits, UiEvent
from app.runs.verdict import Outcome
from app.store import RunRecord, RunStatus, Timeline
from engine.types import (
    CascadeReport,
    Escalated,
    FinishReason,
    GenerationRequest,
    Heartbeat,
    Loading,
    PrefillDone,
    Queued,
    RunFailed,
    RunFinished,
    RunMetrics,
    SpeculationReport,
    Started,
    TokenEvent,
)


class Phase(StrEnum):
    """How far a lane has come."""

    WAITING = "waiting"
    """For the lane before it."""
    QUEUED = "queued"
    """For requests of others."""
    LOADING = "loading"
    """The engine or the model is being made ready; not timed."""
    READING = "reading"
    """The prompt."""
    WRITING = "writing"
    OVER = "over"


@dataclass(slots=True)
class LaneRun:
    """One lane's run, filled in event by event."""

    request: GenerationRequest
    phase: Phase = Phase.WAITING
    run_id: str | None = None
    status: RunStatus = RunStatus.RUNNING
    queue_position: int = 0
    loading: Loading | None = None
    load_s: float = 0.0
    elapsed_s: float = 0.0
    """Since the request arrived, loading left out once it is known."""
    tokens: list[TokenEvent] = field(default_factory=list)
    text: str = ""
    escalated: Escalated | None = None
    """The last time a larger tier was asked."""
    finish_reason: FinishReason | None = None
    metrics: RunMetrics | None = None
    speculation: SpeculationReport | None = None
    cascade: CascadeReport | None = None
    error: str | None = None
    """Why it failed, for the user."""
    waits: str | None = None
    """Why the store could not write its end yet, for the user."""
    not_saved: str | None = None
    """Why the store could not keep it, for the user."""

    def take(self, event: UiEvent) -> None:
        """Note what an event tells."""
        match event:
            case RunCreated(run_id=run_id):
                self.phase, self.run_id = Phase.LOADING, run_id
            case Queued(position=position):
                self.phase, self.queue_position = Phase.QUEUED, position
            case Loading():
                self.phase, self.loading = Phase.LOADING, event
            case Started(load_s=load_s):
                self.phase, self.load_s = Phase.READING, load_s
            case PrefillDone():
                self.phase = Phase.WRITING
            case TokenEvent():
                self.phase = Phase.WRITING
                self.tokens.append(event)
                self.text += event.text
                self.elapsed_s = event.t
            case Escalated():
                self.phase, self.text, self.escalated = Phase.READING, "", event
                self.tokens.clear()
            case Heartbeat(elapsed_s=elapsed_s):
                self.elapsed_s = max(0.0, elapsed_s - self.load_s)
            case RunFinished():
                self.text, self.finish_reason, self.metrics = event.text, event.finish_reason, event.metrics
                self.speculation, self.cascade = event.speculation, event.cascade
                self._end(RunStatus.STOPPED if event.finish_reason == "abort" else RunStatus.FINISHED)
            case RunFailed(error=error):
                self.fail(error)
            case RunSaved(status=status):
                self._end(status)
            case RunWaits(status=status, why=why):
                self.waits = why
                self._end(status)
            case RunNotSaved(error=error):
                self.not_saved = error

    @property
    def at_most_left_s(self) -> float | None:
        """Seconds until max tokens at the pace so far; the model may end sooner. ``None`` before there is a pace."""
        if len(self.tokens) < 2:
            return None
        pace_s = (self.tokens[-1].t - self.tokens[0].t) / (len(self.tokens) - 1)
        return pace_s * (self.request.config.sampling.max_tokens - len(self.tokens))

    def fail(self, error: str) -> None:
        """End the lane with an error written for the user."""
        self.error = error
        self._end(RunStatus.FAILED)

    def stop(self) -> None:
        """End the lane where it stands, unless it is over."""
        if self.phase is not Phase.OVER:
            self._end(RunStatus.STOPPED)

    def adopt(self, record: RunRecord, timeline: Timeline) -> None:
        """Take over what the store kept of a run whose last events nobody read.

        A record that still says "running" is one whose end has not come to the store: what was read here is more.
        """
        if record.status is RunStatus.RUNNING:
            self.not_saved = "Its end has not come to the run database yet."
            return
        self.text, self.finish_reason, self.metrics = record.text, record.finish_reason, record.metrics
        self.speculation, self.cascade = record.speculation, record.cascade
        self.tokens = timeline.to_events()
        self.error = record.error
        self._end(record.status)

    def outcome(self, name: str) -> Outcome:
        """What a verdict needs to know."""
        return Outcome(
            name=name,
            config=self.request.config,
            status=self.status,
            text=self.text,
            token_ids=tuple(token.token_id for token in self.tokens),
            finish_reason=self.finish_reason,
            metrics=self.metrics,
            tier=self.cascade.tier if self.cascade else None,
        )

    def _end(self, status: RunStatus) -> None:
        self.phase, self.status = Phase.OVER, status


@dataclass(slots=True)
class Race:
    """The lanes of one prompt, run one after the other."""

    lanes: dict[str, LaneRun]
    """By the lane's letter, in the order they run."""
    group_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    claimed: bool = False
    """A script run has begun to stream it."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the script run that streams it has let go."""

    def let_go(self) -> None:
        """Nobody streams this any more: what is not over is stopped."""
        for lane in self.lanes.values():
            lane.stop()
        self.over.set()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that exist, in the order of the lanes."""
        return tuple(lane.run_id for lane in self.lanes.values() if lane.run_id)
