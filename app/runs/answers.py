"""Runs that a background job needs the end of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from app.runs.live_run import LiveRun
from app.runs.race import LaneRun
from app.runs.service import InferenceEngine, stream
from app.store import RunSource, RunStatus, RunStore
from engine.errors import GearboxError
from engine.types import GenerationRequest

_Run = TypeVar("_Run", bound=LiveRun)
_REFUSALS = ("InvalidRequestError", "ContextLengthError")


class RunNotFinishedError(GearboxError):
    """A run that a measurement needed did not come to its end."""


class RequestRefusedError(RunNotFinishedError):
    """The model cannot take this request, and never will: its prompt is too long, its template has no system prompt."""


def answer_unkept(engine: InferenceEngine, request: GenerationRequest, watch: Callable[[LiveRun], object]) -> LiveRun:
    """Run a request to its end without keeping it among the runs.

    Args:
        engine: who answers.
        request: what is asked.
        watch: told of the run at every event but the last; what it raises ends the run.

    Raises:
        RequestRefusedError: the model cannot take it.
        RunNotFinishedError: it failed, or was cut short.
    """
    run = LiveRun()
    with closing(engine.generate(request)) as generation:
        for event in generation:
            run.take(event)
            if run.end is not None:
                break
            watch(run)
    _must_be_finished(run)
    return run


def answer_undisturbed(
    engine: InferenceEngine, request: GenerationRequest, watch: Callable[[LiveRun], object]
) -> LiveRun:
    """As `answer_unkept`, for a run whose times count: it has the engine alone. One that was disturbed is made once
    more, and the second one counts.

    Only for requests that leave nothing in the prefix cache, where the second run would find it.
    """
    alone = replace(request, exclusive=True)
    run = answer_unkept(engine, alone, watch)
    return answer_unkept(engine, alone, watch) if run.disturbed else run


def undisturbed(runs: Sequence[_Run]) -> list[_Run]:
    """The runs whose speed counts: those that were not disturbed, or all where there are no others."""
    return [run for run in runs if not run.disturbed] or list(runs)


def disturbed_by(runs: Sequence[LiveRun]) -> str | None:
    """What held up the runs whose speed counts, for the user; ``None`` where nothing did."""
    return next((run.disturbed for run in undisturbed(runs) if run.disturbed), None)


def answer_kept(
    engine: InferenceEngine,
    store: RunStore,
    run: LaneRun,
    *,
    person_id: str | None,
    source: RunSource,
    watch: Callable[[LaneRun], object],
    group_id: str | None = None,
    user: str | None = None,
    key_name: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Run a request to its end, and keep it among the runs.

    Args:
        engine: who answers.
        store: what keeps it.
        run: what is asked, and what becomes of it.
        person_id: who asks.
        source: where it is asked for.
        watch: told of the run at every event; what it raises ends the run, which is then kept as stopped.
        group_id: shared by runs that belong together.
        user: for whom, in the words of the API's caller.
        key_name: what their key is called.
        metadata: what the API's caller noted on it.

    Raises:
        RequestRefusedError: the model cannot take it.
        RunNotFinishedError: it failed, or was cut short.
        GearboxError: whatever keeps the engine or the store from it.
    """
    with closing(
        stream(
            engine,
            store,
            run.request,
            person_id=person_id,
            group_id=group_id,
            source=source,
            user=user,
            key_name=key_name,
            metadata=metadata,
        )
    ) as events:
        for event in events:
            run.take(event)
            watch(run)
    _must_be_finished(run)


def _must_be_finished(run: LiveRun) -> None:
    if run.error is not None:
        raise RequestRefusedError(run.error) if run.error_kind in _REFUSALS else RunNotFinishedError(run.error)
    if run.status is not RunStatus.FINISHED:
        raise RunNotFinishedError(
            "A run was cut short because the engine was shut down. Start the measurement again to go on."
        )
