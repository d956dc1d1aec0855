"""A request in, events out, and a stored run at the end, whatever happens in between."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from app.environment import app_environment
from app.runs.live_run import LiveRun
from app.store import FileLostError, RunNotFoundError, RunSource, RunStatus, RunStore, StoreError
from engine.types import Event, GenerationRequest, RunFailed, TokenEvent

_log = logging.getLogger(__name__)

SAVE_EVERY_S = 1.0
"""How often the text so far is saved."""
FAREWELL_S = 2.0
"""How long the engine is given to report on a run whose reader has gone."""
RETRY_AFTER_S = (0.2, 1.0)
"""Waits before the final save is tried again; after the last, the store tries on in the background."""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """The run has its row; the engine is asked next."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunSaved:
    """The last event: the run is stored as it ended."""

    run_id: str
    status: RunStatus


@dataclass(frozen=True, slots=True)
class RunWaits:
    """The last event instead of `RunSaved`: the run's end waits to be written. It is shown as it ended meanwhile."""

    run_id: str
    status: RunStatus
    why: str
    """What keeps it from being written, for the user."""


@dataclass(frozen=True, slots=True)
class RunNotSaved:
    """The last event instead of `RunSaved`: what was read so far is all there is of this run's end."""

    run_id: str
    error: str
    """Written for the user."""


UiEvent = RunCreated | Event | RunSaved | RunWaits | RunNotSaved


class Generation(Protocol):
    """The events of one request; the last is `RunFinished` or `RunFailed`."""

    def __iter__(self) -> Iterator[Event]: ...
    def __next__(self) -> Event: ...
    def cancel(self) -> None:
        """Ask to stop; the final event still comes."""

    def close(self) -> None:
        """Stop, and free the engine."""


class InferenceEngine(Protocol):
    """What is needed of an engine."""

    def generate(self, request: GenerationRequest) -> Generation:
        """Take the request into the queue."""


def stream(
    engine: InferenceEngine,
    store: RunStore,
    request: GenerationRequest,
    *,
    person_id: str | None,
    group_id: str | None = None,
    source: RunSource | None = None,
    user: str | None = None,
    key_name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Generator[UiEvent, None, None]:
    """Answer a request and keep the run, from its first moment to its last.

    Close the generator (`contextlib.closing`) to stop the run: the engine is freed, and what was
    written so far is stored as a stopped run. Nothing happens before the first `next`.

    Yields:
        `RunCreated`, the engine's events, then `RunSaved`, `RunWaits` or `RunNotSaved`.

    Raises:
        StoreError: the run's row could not be made; the engine was not asked.
    """
    run_id = store.create_run(
        request,
        person_id=person_id,
        group_id=group_id,
        source=source,
        user=user,
        key_name=key_name,
        metadata=metadata,
        environment=app_environment(),
    )
    recording = _Recording(store, run_id)
    try:
        yield RunCreated(run_id)
        with closing(engine.generate(request)) as generation:
            try:
                for event in generation:
                    recording.add(event)
                    yield event
            except GeneratorExit:
                recording.hear_out(generation)
                raise
    except Exception as error:
        recording.add(RunFailed(error=str(error), kind=type(error).__name__))
        raise
    finally:
        saved = recording.finish()
    yield saved


class _Recording:
    """One run on its way into the store."""

    def __init__(self, store: RunStore, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._run = LiveRun()
        self._save_due = time.monotonic() + SAVE_EVERY_S
        self._progress_is_saved = True

    def add(self, event: Event) -> None:
        """Take in an event, and save the text so far when it is time again."""
        self._run.take(event)
        if isinstance(event, TokenEvent):
            self._store.throughput.count(1)
        if self._run.end is None and time.monotonic() >= self._save_due:
            self._save_progress()
            self._save_due = time.monotonic() + SAVE_EVERY_S

    def hear_out(self, generation: Generation) -> None:
        """Cancel, and take in what the engine still has to say, its measurements above all."""
        generation.cancel()
        deadline = time.monotonic() + FAREWELL_S
        for event in generation:
            self.add(event)
            if self._run.end or time.monotonic() >= deadline:
                return

    def finish(self) -> RunSaved | RunWaits | RunNotSaved:
        """Store the run as it ended, trying again where that may help, and else leave it to the store."""
        self._run.stop()  # one that never told its end
        outcome, timeline = self._run.to_outcome(), self._run.timeline
        waits_s = list(RETRY_AFTER_S)
        while True:
            try:
                self._store.finish_run(self._run_id, outcome, timeline)
                return RunSaved(self._run_id, outcome.status)
            except RunNotFoundError as error:
                _log.error("Run %s could not be saved: %s", self._run_id, error)
                return RunNotSaved(self._run_id, str(error))
            except StoreError as error:
                if not waits_s or isinstance(error, FileLostError):
                    _log.error("Run %s could not be saved yet: %s", self._run_id, error)
                    self._store.finish_later(self._run_id, outcome, timeline, str(error))
                    return RunWaits(self._run_id, outcome.status, str(error))
            time.sleep(waits_s.pop(0))

    def _save_progress(self) -> None:
        try:
            self._store.save_progress(self._run_id, self._run.text, self._run.timeline)
            self._progress_is_saved = True
        except StoreError as error:
            if self._progress_is_saved:
                _log.warning("Run %s goes on, but its text so far could not be saved: %s", self._run_id, error)
            self._progress_is_saved = False
