"""Runs written out as Parquet (parquet.apache.org), for data frames: a row group each few hundred."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, get_args, get_type_hints

from sqlalchemy.orm import Session

from app.store.runs.export import COLUMNS, runs_of, to_columns
from app.store.runs.queries import METRICS, to_record
from app.store.runs.records import RunFilter
from engine.types import RunMetrics

if TYPE_CHECKING:
    import pyarrow

_ROWS_AT_ONCE = 1_000
_AS_JSON = ("messages", "metadata", "config", "environment")


def write_parquet(session: Session, filter: RunFilter, stream: BinaryIO) -> int:
    """One row a run, oldest first, without its timeline; returns the number of runs.

    Times are UTC, tags a list of texts; messages, metadata, configuration and environment are JSON.
    """
    import pyarrow
    from pyarrow import parquet

    schema = _schema()
    number = 0
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for run in runs_of(session, filter, timelines=False):
            rows.append(_row(to_columns(to_record(run))))
            if len(rows) == _ROWS_AT_ONCE:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
                number += len(rows)
                rows = []
        if rows:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    return number + len(rows)


def _schema() -> pyarrow.Schema:
    import pyarrow

    kinds = {
        float: pyarrow.float64(),
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        str: pyarrow.string(),
    }
    of_metrics = get_type_hints(RunMetrics)
    own = {
        "created_at": pyarrow.timestamp("us", tz="UTC"),
        "seed": pyarrow.int64(),
        "rating": pyarrow.int64(),
        "disturbed": pyarrow.bool_(),
        "tags": pyarrow.list_(pyarrow.string()),
        **{name: kinds[_plain(of_metrics[name])] for name in METRICS},
    }
    return pyarrow.schema([(name, own.get(name, pyarrow.string())) for name in COLUMNS])


def _plain(hint: Any) -> Any:
    """A type without its ``None``."""
    return next(kind for kind in (*get_args(hint), hint) if kind is not type(None))


def _row(columns: dict[str, Any]) -> dict[str, Any]:
    as_json = {name: json.dumps(columns[name], ensure_ascii=False) for name in _AS_JSON}
    return columns | as_json | {"created_at": datetime.fromisoformat(columns["created_at"])}
