"""How a run ended, on its way into the database: written at once, or shown from memory while it waits.

It carries how the run began too, so that it can be written whole where its row is not there: into the database that
has taken the place of a lost one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from sqlalchemy import update
from sqlalchemy.orm import Session, joinedload

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.errors import RunNotFoundError
from app.store.database.identity import now
from app.store.outbox.results import Result, to_bytes, to_text
from app.store.runs.queries import to_record
from app.store.runs.records import RunOutcome, RunRecord, RunStatus, RunSummary
from app.store.runs.reports import REPORTS, Reports
from app.store.runs.rollups.buckets import has_changed
from app.store.runs.schema import DeletedRun, Run, RunContent, RunTimeline
from app.store.runs.timeline import Timeline
from engine.types import Losslessness, RunMetrics

ENDING = "run"
LOSSLESSNESS = "losslessness"
_OVER = (RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED)
_MOMENTS = ("created_at", "seen_at")
_Shown = TypeVar("_Shown", RunSummary, RunRecord)


def beginning_of(run: Run) -> dict[str, Any]:
    """The columns of a run that has just been made, as JSON values."""
    names = (column.key for column in Run.__table__.columns)
    columns = {name: value for name in names if (value := getattr(run, name)) is not None}
    content = run.content
    kept = ("prompt", "messages", "caller_metadata", "config", "environment")
    texts = {name: getattr(content, name) for name in kept}
    return {**columns, **{name: to_microseconds(columns[name]) for name in _MOMENTS}, "content": texts}


def ending(
    run_id: str, outcome: RunOutcome, timeline: Timeline | None, beginning: Mapping[str, Any] | None = None
) -> Result:
    """A run's end as a result. Without its beginning it can be written only where the run's row is."""
    fields = {
        "run_id": run_id,
        "status": str(outcome.status),
        "text": outcome.text,
        "finish_reason": outcome.finish_reason,
        "error": outcome.error,
        "error_kind": outcome.error_kind,
        "metrics": asdict(outcome.metrics) if outcome.metrics else None,
        "environment": dict(outcome.environment or {}),
        **outcome.reports_json(),
        "timeline": to_text(timeline.pack()) if timeline is not None else None,
        "beginning": beginning,
    }
    return Result(ENDING, run_id, fields)


def write_ending(session: Session, fields: Mapping[str, Any], *, again: bool = False) -> None:
    """Store how a run ended; one that is over already stays as it is, unless it is ended ``again``.

    Raises:
        RunNotFoundError: it was deleted.
    """
    run_id = str(fields["run_id"])
    run = session.get(Run, run_id, options=[joinedload(Run.content)])
    if run is None:
        if fields["beginning"] is None or session.get(DeletedRun, run_id) is not None:
            raise RunNotFoundError(run_id)
        run = _begun(fields["beginning"])
        session.add(run)
        session.flush()
    elif run.status in _OVER and not again:
        return
    _end(run, fields)
    has_changed(session, [run.created_at])
    if fields["timeline"] is not None:
        session.merge(RunTimeline(run_id=run_id, payload=to_bytes(fields["timeline"])))


def losslessness_of(run_id: str, found: Losslessness) -> Result:
    """What reading a run's answer again showed, as a result."""
    return Result(LOSSLESSNESS, run_id, {"run_id": run_id, "found": asdict(found)})


def write_losslessness(session: Session, fields: Mapping[str, Any]) -> None:
    """Store what reading a run's answer again showed; an earlier result gives way.

    Raises:
        RunNotFoundError: there is no such run.
    """
    changed = update(RunContent).where(RunContent.run_id == fields["run_id"]).values(losslessness=fields["found"])
    if session.scalar(changed.returning(RunContent.run_id)) is None:
        raise RunNotFoundError(fields["run_id"])


# --- while it waits ---------------------------------------------------------------------------------


def as_ended(run: _Shown, result: Result) -> _Shown:
    """A run that the database still has as running, with the end that waits for it."""
    fields = result.fields
    metrics, reports = fields["metrics"], Reports.from_json(fields)
    changes: dict[str, Any] = {
        "status": RunStatus(fields["status"]),
        "finish_reason": fields["finish_reason"],
        "error": fields["error"],
        "metrics": RunMetrics(**metrics) if metrics else None,
        "disturbance": reports.disturbance,
    }
    if isinstance(run, RunRecord):
        changes |= {
            "text": fields["text"],
            "error_kind": fields["error_kind"],
            "environment": {**run.environment, **fields["environment"]},
            **reports.named(),
        }
    return replace(run, **changes)


def whole_run(result: Result) -> RunRecord | None:
    """A run whose end waits, where the database cannot be read; ``None`` if its beginning is not known."""
    beginning = result.fields["beginning"]
    if beginning is None:
        return None
    run = _begun(beginning)
    run.rating, run.note, run.tags = 0, "", []
    return as_ended(to_record(run), result)


def timeline_of(result: Result) -> Timeline | None:
    """The tokens of a run whose end waits."""
    packed = result.fields["timeline"]
    return None if packed is None else Timeline.unpack(to_bytes(packed))


# ----------------------------------------------------------------------------------------------------


def _begun(beginning: Mapping[str, Any]) -> Run:
    columns = {name: value for name, value in beginning.items() if name != "content"}
    moments = {name: from_microseconds(columns[name]) for name in _MOMENTS}
    content = RunContent(run_id=columns["id"], text="", **beginning["content"])
    return Run(**{**columns, **moments}, content=content)


def _end(run: Run, fields: Mapping[str, Any]) -> None:
    run.status = fields["status"]
    run.finish_reason = fields["finish_reason"]
    run.seen_at = now()
    for name, value in (fields["metrics"] or {}).items():
        setattr(run, name, value)
    content = run.content
    for name in ("text", "error", "error_kind"):
        setattr(content, name, fields[name])
    for name in REPORTS:  # one that an older server wrote aside may lack a report
        setattr(content, name, fields.get(name))
    reports = Reports.from_json(fields)
    run.disturbed = None if reports.disturbance is None else reports.disturbance.is_disturbed
    if (cascade := reports.cascade) and cascade.large_alone_s is not None:
        run.large_alone_s, run.large_alone_derived = cascade.large_alone_s, cascade.derived
        run.cascade_saved_s = cascade.saved_s
    content.environment = {**content.environment, **fields["environment"]}
