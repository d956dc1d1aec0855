"""One prompt on its way through the lanes.

A race lives in the session and survives reruns and page switches. Exactly one script run streams it; any
other script run that comes meanwhile has interrupted that one, and waits for it to let go.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from app.runs.live_run import LiveRun, Phase
from app.runs.service import RunCreated, RunNotSaved, RunSaved, RunWaits, UiEvent
from app.runs.verdict import Outcome
from app.store import Reports, RunRecord, RunStatus, Timeline
from engine.types import GenerationRequest


@dataclass
class LaneRun(LiveRun):
    """One lane's run: what was asked, what its events have told, and what became of it in the store."""

    request: GenerationRequest
    run_id: str | None = field(default=None, kw_only=True)
    waits: str | None = field(default=None, kw_only=True)
    """Why the store could not write its end yet, for the user."""
    not_saved: str | None = field(default=None, kw_only=True)
    """Why the store could not keep it, for the user."""

    def take(self, event: UiEvent) -> None:
        """Note what an event tells."""
        match event:
            case RunCreated(run_id=run_id):
                self.phase, self.run_id = Phase.LOADING, run_id
            case RunSaved(status=status):
                self._end(status)
            case RunWaits(status=status, why=why):
                self.waits = why
                self._end(status)
            case RunNotSaved(error=error):
                self.not_saved = error
            case _:
                super().take(event)

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

    def adopt(self, record: RunRecord, timeline: Timeline) -> None:
        """Take over what the store kept of a run whose last events nobody read.

        A record that still says "running" is one whose end has not come to the store: what was read here is more.
        """
        if record.status is RunStatus.RUNNING:
            self.not_saved = "Its end has not come to the run database yet."
            return
        self.text, self.finish_reason, self.metrics = record.text, record.finish_reason, record.metrics
        self.reports, self.tokens = Reports.of(record), timeline.to_events()
        self.error = record.error
        self._end(record.status)

    def outcome(self, name: str) -> Outcome:
        """What a verdict needs to know."""
        return Outcome(
            name=name,
            config=self.request.config,
            status=self.status,
            text=self.text,
            token_ids=self.token_ids,
            finish_reason=self.finish_reason,
            metrics=self.metrics,
            tier=self.reports.cascade.tier if self.reports.cascade else None,
        )


@dataclass(slots=True)
class Race:
    """The lanes of one prompt, run one after the other, once a round."""

    rounds: tuple[dict[str, LaneRun], ...]
    """Each round's runs by the lane's letter, in the order of the lanes. At least one round."""
    group_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    claimed: bool = False
    """A script run has begun to stream it."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the script run that streams it has let go."""

    @classmethod
    def between(cls, lanes: Mapping[str, GenerationRequest], *, rounds: int = 1, group_id: str | None = None) -> Self:
        """A race that has not begun.

        Args:
            lanes: what each is asked, by its letter, in the order of the first round.
            rounds: how often each answers.
            group_id: of its runs in the store; ``None`` for one of its own.
        """
        runs = tuple({letter: LaneRun(request) for letter, request in lanes.items()} for _ in range(rounds))
        return cls(runs, group_id or uuid.uuid4().hex)

    @property
    def schedule(self) -> Iterator[tuple[str, LaneRun]]:
        """The runs in the order in which they run. Every second round goes backwards (A B B A), so that a machine
        that grows slower or faster meanwhile favours no lane."""
        for place, lanes in enumerate(self.rounds):
            order = list(lanes.items())
            yield from reversed(order) if place % 2 else order

    @property
    def lanes(self) -> dict[str, LaneRun]:
        """The round to show: the one that runs, else the last."""
        return next(
            (lanes for lanes in self.rounds if any(lane.phase is not Phase.OVER for lane in lanes.values())),
            self.rounds[-1],
        )

    def let_go(self) -> None:
        """Nobody streams this any more: what is not over is stopped."""
        for _, lane in self.schedule:
            lane.stop()
        self.over.set()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs of the round to show that exist, in the order of the lanes."""
        return tuple(lane.run_id for lane in self.lanes.values() if lane.run_id)
