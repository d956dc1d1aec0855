"""Runs written out, complete, a few at a time."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, TextIO

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.store.runs.queries import METRICS, listed, to_record
from app.store.runs.records import RunFilter, RunRecord
from app.store.runs.schema import Run
from app.store.runs.timeline import Timeline

_CHUNK = 500
_BEFORE_METRICS = (
    "id",
    "created_at",
    "status",
    "group_id",
    "person_id",
    "session_id",
    "source",
    "user",
    "model",
    "backend",
    "precision",
    "config_hash",
    "seed",
    "finish_reason",
    "error",
    "error_kind",
)
_DISTURBANCE = ("disturbed", "why_disturbed")
_AFTER_METRICS = ("rating", "tags", "note", "prompt", "text", "messages", "metadata", "config", "environment")
COLUMNS = (*_BEFORE_METRICS, *METRICS, *_DISTURBANCE, *_AFTER_METRICS)
"""What every format has of a run, in order."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_BYTE_ORDER_MARK = "\ufeff"
"""By which Excel knows that a file is UTF-8."""


def write_csv(session: Session, filter: RunFilter, stream: TextIO) -> int:
    """One row a run, oldest first, without its timeline; returns the number of runs.

    It begins with a byte order mark, and text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    stream.write(_BYTE_ORDER_MARK)
    writer = csv.DictWriter(stream, fieldnames=COLUMNS)
    writer.writeheader()
    count = 0
    for run in runs_of(session, filter, timelines=False):
        writer.writerow({name: _cell(value) for name, value in to_columns(to_record(run)).items()})
        count += 1
    return count


def write_jsonl(session: Session, filter: RunFilter, stream: TextIO) -> int:
    """One JSON object a run, oldest first, its timeline included; returns the number of runs."""
    count = 0
    for run in runs_of(session, filter, timelines=True):
        record = to_record(run)
        tree = to_columns(record) | _finite(record.reports_json())
        tree["losslessness"] = record.losslessness and asdict(record.losslessness)
        tree["timeline"] = Timeline.unpack(run.timeline.payload).to_dict() if run.timeline else None
        stream.write(json.dumps(tree, ensure_ascii=False, allow_nan=False) + "\n")
        count += 1
    return count


def runs_of(session: Session, filter: RunFilter, *, timelines: bool) -> Iterator[Run]:
    """The runs that a filter lets through, oldest first, loaded a few at a time."""
    loaded = [joinedload(Run.content), selectinload(Run.tags)]
    if timelines:
        loaded.append(selectinload(Run.timeline))
    return iter(
        session.scalars(
            select(Run)
            .where(*listed(filter))
            .order_by(Run.created_at, Run.id)
            .options(*loaded)
            .execution_options(yield_per=_CHUNK)
        )
    )


def to_columns(record: RunRecord) -> dict[str, Any]:
    """A run's values by the names of `COLUMNS`; lists and dictionaries as they are."""
    tree = {name: getattr(record, name) for name in _BEFORE_METRICS}
    tree |= {name: getattr(record.metrics, name, None) for name in METRICS}
    found = record.disturbance
    tree |= dict(zip(_DISTURBANCE, (found.is_disturbed, found.why) if found else (None, None), strict=True))
    tree |= {name: getattr(record, name) for name in _AFTER_METRICS}
    tree["created_at"] = record.created_at.isoformat()
    tree["messages"] = [message.to_dict() for message in record.messages]
    return tree


def _cell(value: object) -> object:
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return "'" + value
    return value


def _finite(tree: Any) -> Any:
    """The same tree with ``None`` for what is no number: a figure that nobody told."""
    match tree:
        case dict():
            return {name: _finite(value) for name, value in tree.items()}
        case list() | tuple():
            return [_finite(value) for value in tree]
        case float() if not math.isfinite(tree):
            return None
        case _:
            return tree
