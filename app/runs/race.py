"""One prompt on its way through the lanes, as the thread that runs it and the pages that show it share it.

The thread alone changes a race (`app.runs.races`). Pages read it, as many as there are, and come and go.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Self

from app.runs.live_run import LiveRun, Phase
from app.runs.service import RunCreated, RunNotSaved, RunSaved, RunWaits, UiEvent
from app.runs.verdict import Outcome
from app.store import Reports, RunRecord, RunSource, RunStatus, RunStore, Timeline
from engine.types import GenerationRequest

HEAD_START_S = 0.3
"""How long a page holds its drawing back while a prompt is read, or a short answer in a chat is written."""


@dataclass
class LaneRun(LiveRun):
    """One lane's run: what was asked, what its events have told, and what became of it in the store."""

    request: GenerationRequest
    run_id: str | None = field(default=None, kw_only=True)
    waits: str | None = field(default=None, kw_only=True)
    """Why the store could not write its end yet, for the user."""
    not_saved: str | None = field(default=None, kw_only=True)
    """Why the store could not keep it, for the user."""
    changes: int = field(default=0, kw_only=True)
    """Grows with all that is told of it: a page draws it again when this has changed."""

    def take(self, event: UiEvent) -> None:
        """Note what an event tells."""
        match event:
            case RunCreated(run_id=run_id):
                self.phase, self.run_id = Phase.LOADING, run_id
            case RunSaved(status=status):
                if self.phase is Phase.OVER and self.status is status:
                    return
                self._end(status)
            case RunWaits(status=status, why=why):
                self.waits = why
                self._end(status)
            case RunNotSaved(error=error):
                self.not_saved = error
            case _:
                super().take(event)
        self.changes += 1

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
            self.take(RunNotSaved(record.id, "Its end has not come to the run database yet."))
            return
        self._final_text, self.finish_reason, self.metrics = record.text, record.finish_reason, record.metrics
        self.reports, self.tokens = Reports.of(record), timeline.to_events()
        self.environment = record.environment
        self.error = record.error
        self._end(record.status)

    def _end(self, status: RunStatus) -> None:
        super()._end(status)
        self.changes += 1

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
            cascade=self.reports.cascade,
            remote=self.remote,
            disturbed=self.disturbed,
        )


@dataclass(slots=True, eq=False)
class Race:
    """The lanes of one prompt, run one after the other, once a round."""

    source: ClassVar[RunSource] = RunSource.PLAYGROUND
    """Where its runs are asked for."""
    rounds: tuple[dict[str, LaneRun], ...]
    """Each round's runs by the lane's letter, in the order of the lanes. At least one round."""
    group_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    over: threading.Event = field(default_factory=threading.Event, init=False)
    """Set when nothing of it runs any more, and what is to be kept of it is kept."""
    stopping: threading.Event = field(default_factory=threading.Event, init=False)
    """Set when it is to end where it stands."""
    why_stopped: str | None = field(default=None, init=False)
    """Why it was stopped, for the user, where nobody had asked for that."""
    watchers: int = field(default=0, init=False)
    """Pages that show it right now."""
    looks: int = field(default=0, init=False)
    """How many pages have begun to show it so far."""
    news: int = field(default=0, init=False)
    """Grows when something happens that is worth drawing at once; tokens are not."""
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)

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

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs of the round to show that exist, in the order of the lanes."""
        return tuple(lane.run_id for lane in self.lanes.values() if lane.run_id)

    @property
    def current(self) -> LaneRun | None:
        """The run that goes on, or comes next; ``None`` once all are over."""
        return next((lane for _, lane in self.schedule if lane.phase is not Phase.OVER), None)

    # --- for the pages that show it ------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Show it inside the block; while somebody does, it goes on."""
        with self._changed:
            self.watchers, self.looks = self.watchers + 1, self.looks + 1
        try:
            yield
        finally:
            with self._changed:
                self.watchers -= 1

    def wait_for_news(self, seen: int, timeout_s: float) -> None:
        """Wait until there is other news than so many pieces of it, but no longer than so many seconds."""
        self._wait_for(lambda: self.news != seen, timeout_s)

    def wait_until_read(self, timeout_s: float) -> None:
        """Leave the interpreter to the engine until the prompt that it has now is read, but no longer than so many
        seconds: what a page draws meanwhile would make TTFT grow."""
        self._wait_for(self._nothing_is_read, timeout_s)

    def stop(self, why: str | None = None) -> None:
        """Have it end where it stands. What was written is kept; lanes that have not begun never do."""
        self.why_stopped = self.why_stopped or why
        self.stopping.set()

    # --- for the thread that runs it -----------------------------------------------------------------

    def tell(self) -> None:
        """Wake the pages that show it."""
        with self._changed:
            self.news += 1
            self._changed.notify_all()

    def let_go(self) -> None:
        """Nobody runs this any more: what is not over is stopped."""
        for _, lane in self.schedule:
            lane.stop()
        self.over.set()
        self.tell()

    def settle(self, store: RunStore) -> None:
        """Keep what is to be kept of it besides its runs; called once when these are over.

        Raises:
            StoreError: it could not be kept.
        """

    def _wait_for(self, true: Callable[[], bool], timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(true, timeout_s)

    def _nothing_is_read(self) -> bool:
        lane = self.current
        return lane is None or lane.phase in (Phase.QUEUED, Phase.WRITING)
