"""What filters and orders mean in SQL, and how rows become records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, cast

from sqlalchemy import ColumnElement, UnaryExpression, or_, select

from app.store.people.visibility import visible
from app.store.runs.records import Rating, RunFilter, RunRecord, RunSort, RunSource, RunStatus, RunSummary
from app.store.runs.reports import REPORTS, Reports
from app.store.runs.schema import Run, RunTag
from app.store.runs.search.mentioning import mentions
from engine.types import (
    AS_GOOD_AS_ALONE,
    Disturbance,
    FinishReason,
    Losslessness,
    Message,
    OptimizationConfig,
    RunMetrics,
)
from engine.untrusted import valid_text

METRICS = tuple(field.name for field in fields(RunMetrics))
"""The columns of `Run` that hold metrics."""
_NOT_TOLD = dict.fromkeys(
    (
        "prompt_tokens",
        "cached_tokens",
        "drafted_tokens",
        "accepted_tokens",
        "weights_bytes",
        "kv_bytes",
        "peak_rss_bytes",
    ),
    0,
)
"""What a server may not tell: `RemoteReport` says so, and the column is null, which is no 0 in a sum."""
_UNKNOWN: dict[str, Any] = {
    field.name: None if field.default is MISSING else field.default for field in fields(RunMetrics)
} | _NOT_TOLD
"""What a metric is of a run that was kept before it was measured, or has none."""


def listed(filter: RunFilter) -> list[ColumnElement[bool]]:
    """The filter as conditions on `Run`, for lists and whatever else shows runs one by one."""
    return [*conditions(filter), *visible(Run.person_id, filter.viewer)]


def conditions(filter: RunFilter) -> list[ColumnElement[bool]]:
    """The filter as conditions on `Run`, all of which must hold: for figures, which cover everybody's runs.

    What others wrote must not be found by what is counted: where texts or tags decide, only what the viewer may see
    counts.
    """
    among: list[tuple[Any, Sequence[object]]] = [
        (Run.model, filter.models),
        (Run.backend, filter.backends),
        (Run.precision, filter.precisions),
        (Run.config_hash, filter.config_hashes),
        (Run.status, filter.statuses),
        (Run.rating, filter.ratings),
        (Run.finish_reason, filter.finish_reasons),
        (Run.error_kind, filter.error_kinds),
        (Run.tier, filter.tiers),
    ]
    parts = [column.in_(values) for column, values in among if values]
    if filter.sources:
        parts.append(_one_of(Run.source, filter.sources))
    if filter.key_names:
        parts.append(_one_of(Run.key_name, filter.key_names))
    parts += [Run.id.in_(select(RunTag.run_id).where(RunTag.tag == tag)) for tag in filter.tags]
    if filter.disturbed is not None:
        parts.append(Run.disturbed.is_(True) if filter.disturbed else Run.disturbed.is_not(True))
    if filter.router_profile is not None:
        parts.append(Run.router_profile == filter.router_profile)
    if filter.group_id is not None:
        parts.append(Run.group_id == filter.group_id)
    if filter.person_id is not None:
        parts.append(Run.person_id == filter.person_id)
    if filter.since is not None:
        parts.append(Run.created_at >= filter.since)
    if filter.until is not None:
        parts.append(Run.created_at < filter.until)
    if needle := valid_text(filter.text.strip()):
        parts.append(mentions(needle, narrowed=filter.narrowed))
    if needle or filter.tags:
        parts += visible(Run.person_id, filter.viewer)
    return parts


def ran_alone() -> ColumnElement[bool]:
    """Whether a run shared its passes with nobody, so that its times are its own."""
    return or_(Run.mean_batch_size.is_(None), Run.mean_batch_size <= AS_GOOD_AS_ALONE)


def _one_of(column: Any, values: Sequence[str | None]) -> ColumnElement[bool]:
    """``None`` among the values stands for rows without one."""
    known: ColumnElement[bool] = column.in_([value for value in values if value is not None])
    return or_(known, column.is_(None)) if None in values else known


def order(sort: RunSort) -> list[UnaryExpression[Any]]:
    """The order of a list as terms on `Run`."""
    column = getattr(Run, sort.column)
    first = column.desc() if sort.descending else column.asc()
    if Run.__table__.c[sort.column].nullable:  # elsewhere PostgreSQL could use no index for it
        first = first.nulls_last()
    return [first, Run.created_at.desc(), Run.id.desc()]


def to_summary(
    run: Run, prompt: str, error: str | None, config: Mapping[str, Any], disturbance: Mapping[str, Any] | None
) -> RunSummary:
    """The record of a row whose tags are loaded."""
    return RunSummary(
        **_summary_fields(run),
        prompt=prompt,
        error=error,
        gears=gears_of(config),
        disturbance=Disturbance.from_dict(disturbance) if disturbance else None,
    )


def gears_of(config: Mapping[str, Any]) -> OptimizationConfig:
    """The gears of a configuration as it is kept."""
    return OptimizationConfig.from_dict(config.get("optimization", {}))


def to_record(run: Run) -> RunRecord:
    """The record of a row whose tags and content are loaded."""
    content = run.content
    return RunRecord(
        **_summary_fields(run),
        prompt=content.prompt,
        error=content.error,
        gears=gears_of(content.config),
        messages=tuple(Message.from_dict(message) for message in content.messages),
        metadata=content.caller_metadata or {},
        config=content.config,
        environment=content.environment,
        error_kind=content.error_kind,
        **Reports.from_json({name: getattr(content, name) for name in REPORTS}).named(),
        losslessness=Losslessness.from_dict(content.losslessness) if content.losslessness else None,
        text=content.text,
    )


def _summary_fields(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "created_at": run.created_at,
        "status": RunStatus(run.status),
        "group_id": run.group_id,
        "person_id": run.person_id,
        "session_id": run.session_id,
        "source": None if run.source is None else RunSource(run.source),
        "user": run.user,
        "model": run.model,
        "backend": run.backend,
        "precision": run.precision,
        "config_hash": run.config_hash,
        "seed": run.seed,
        "finish_reason": cast("FinishReason | None", run.finish_reason),
        # The engine reports all of its metrics or none, and E2E is never missing among them.
        "metrics": None if run.e2e_s is None else _metrics(run),
        "note": run.note,
        "rating": cast("Rating", run.rating),
        "tags": tuple(tag.tag for tag in run.tags),
    }


def _metrics(run: Run) -> RunMetrics:
    return RunMetrics(**_UNKNOWN | {name: value for name in METRICS if (value := getattr(run, name)) is not None})
