"""How a run ended, on its way into the database: written at once, or shown from memory while it waits.

It carries how the run began too, so that it can be written whole where its row is not there: into the database that
has taken the place of a lost one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar, cast

from sqlalchemy import BindParameter, CursorResult, Table, bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.errors import RunNotFoundError
from app.store.database.identity import now
from app.store.outbox.results import Result, to_bytes, to_text
from app.store.runs.queries import to_record
from app.store.runs.records import RunOutcome, RunRecord, RunStatus, RunSummary
from app.store.runs.reports import REPORTS, Reports
from app.store.runs.rollups import adding
from app.store.runs.rollups.buckets import has_changed
from app.store.runs.schema import DeletedRun, Run, RunContent, RunTimeline
from app.store.runs.timeline import Timeline
from engine.types import Losslessness, RemoteReport, RunMetrics, SpeculationReport

ENDING = "run"
LOSSLESSNESS = "losslessness"
_OVER = (RunStatus.FINISHED, RunStatus.STOPPED, RunStatus.FAILED)
_MOMENTS = ("created_at", "seen_at")
_RUNS, _CONTENTS, _TIMELINES = (cast(Table, each.__table__) for each in (Run, RunContent, RunTimeline))
_OF_RUN: BindParameter[str] = bindparam("of_run")
# made once: every run passes here, the timed ones between two answers
_KNOWN = (
    select(_RUNS.c.status, _RUNS.c.created_at, _CONTENTS.c.environment).join(_CONTENTS).where(_RUNS.c.id == _OF_RUN)
)
_END_RUN = update(_RUNS).where(_RUNS.c.id == _OF_RUN)
_END_CONTENT = update(_CONTENTS).where(_CONTENTS.c.run_id == _OF_RUN)
_NEW_RUN, _NEW_CONTENT, _NEW_TIMELINE = insert(_RUNS), insert(_CONTENTS), insert(_TIMELINES)
_CHANGE_TIMELINE = update(_TIMELINES).where(_TIMELINES.c.run_id == _OF_RUN)
_NO_REPORTS = {**dict.fromkeys(REPORTS), "losslessness": None}
_Shown = TypeVar("_Shown", RunSummary, RunRecord)


def write_beginning(session: Session, columns: Mapping[str, Any], texts: Mapping[str, Any]) -> None:
    """Store a new run.

    Args:
        session: to write with.
        columns: of `Run`.
        texts: of `RunContent`, as far as they are known.
    """
    session.execute(_NEW_RUN, dict(columns))
    session.execute(_NEW_CONTENT, {"run_id": columns["id"], **_NO_REPORTS, **texts})


def beginning_of(columns: Mapping[str, Any], texts: Mapping[str, Any]) -> dict[str, Any]:
    """A new run, as for :func:`write_beginning`, as JSON values."""
    known = {name: value for name, value in columns.items() if value is not None}
    return {**known, **{name: to_microseconds(columns[name]) for name in _MOMENTS}, "content": dict(texts)}


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
    known = session.execute(_KNOWN, {"of_run": run_id}).one_or_none()
    if known is None:
        if fields["beginning"] is None or session.get(DeletedRun, run_id) is not None:
            raise RunNotFoundError(run_id)
        run = _begun(fields["beginning"])
        session.add(run)
        session.flush()
        environment, created_at, counted = run.content.environment, run.created_at, False
    elif known.status in _OVER and not again:
        return
    else:
        environment, created_at, counted = known.environment, known.created_at, known.status != RunStatus.RUNNING
    session.execute(_END_RUN, {"of_run": run_id, **_ended(fields)})
    texts = {name: fields[name] for name in ("text", "error", "error_kind")}
    reports = {name: fields.get(name) for name in REPORTS}  # one that an older server wrote aside may lack a report
    environment = {**environment, **fields["environment"]}
    session.execute(_END_CONTENT, {"of_run": run_id, **texts, **reports, "environment": environment})
    if has_changed(session, [created_at]) and not counted:
        adding.add(session, [run_id])
    if fields["timeline"] is not None:
        write_timeline(session, run_id, to_bytes(fields["timeline"]))


def write_timeline(session: Session, run_id: str, packed: bytes) -> None:
    """Store a run's tokens, in the place of those stored before."""
    changed = session.execute(_CHANGE_TIMELINE, {"of_run": run_id, "payload": packed})
    if cast("CursorResult[Any]", changed).rowcount == 0:
        session.execute(_NEW_TIMELINE, {"run_id": run_id, "payload": packed})


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


def _ended(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a run that its end changes, without its texts."""
    reports = Reports.from_json(fields)
    columns = {
        "status": fields["status"],
        "finish_reason": fields["finish_reason"],
        "error_kind": fields["error_kind"],
        "tier": reports.cascade.tier if reports.cascade else None,
        "speculation_saved_s": _speculation_saved_s(reports.speculation, fields["metrics"]),
        "seen_at": now(),
        **(fields["metrics"] or {}),
        "disturbed": None if reports.disturbance is None else reports.disturbance.is_disturbed,
    }
    if remote := RemoteReport.of(fields["environment"]):  # what a server does not tell is no 0
        columns |= {name: columns.get(name) or None for name in ("weights_bytes", "kv_bytes", "peak_rss_bytes")}
        columns |= {name: getattr(remote, name) for name in ("cached_tokens", "drafted_tokens", "accepted_tokens")}
        if not remote.prompt_counted:
            columns["prompt_tokens"] = None
    if (cascade := reports.cascade) and cascade.large_alone_s is not None:
        columns |= {
            "large_alone_s": cascade.large_alone_s,
            "large_alone_derived": cascade.derived,
            "cascade_saved_s": cascade.saved_s,
        }
    return columns


def _speculation_saved_s(report: SpeculationReport | None, metrics: Mapping[str, Any] | None) -> float | None:
    """Against plain decoding: one step a token, as it was measured before the run; ``None`` where it was not."""
    if report is None or metrics is None or 1 not in report.step_s:
        return None
    took_s = report.drafting_s + report.verification_s + report.plain_s
    return float(max(0, metrics["completion_tokens"] - 1) * report.step_s[1] - took_s)
