"""Summing up the runs of quarters of an hour that are over."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds
from app.store.database.session import Database
from app.store.runs.rollups.buckets import WIDTH_US, stale_buckets
from app.store.runs.rollups.schema import RunBucket, RunRollup
from app.store.runs.rollups.sums import PEAKS, TIMES, TOKENS, Sums
from app.store.runs.schema import Run

SUMMED = (Run.status, Run.disturbed, *(getattr(Run, name) for name in (*TOKENS, *PEAKS, *TIMES)))
"""The columns that sums are made of."""
_IDENTITY = ("config_hash", "source", "user", "model", "backend", "precision")


def sum_up(database: Database, *, most: int) -> bool:
    """Sum up the runs of at most so many buckets that are over; says whether there are more.

    Each is summed up in a reading transaction and written in another, so that nobody waits for the sums; where one of
    its runs changed meanwhile, nothing is written, and it stays to be summed up.

    Raises:
        StoreError: the database cannot be used.
    """
    with database.read() as session:
        stale = stale_buckets(session, limit=most + 1)
    for bucket in stale[:most]:
        with database.read() as session:
            changes = session.scalar(select(RunBucket.changes).where(RunBucket.bucket == bucket))
            rows = _rows_of(session, bucket)
        with database.write(hasty=True) as session:
            _write(session, bucket, changes, rows)
    return len(stale) > most


def _rows_of(session: Session, bucket: int) -> list[dict[str, Any]]:
    start, end = from_microseconds(bucket * WIDTH_US), from_microseconds((bucket + 1) * WIDTH_US)
    columns = (*(getattr(Run, name) for name in _IDENTITY), *SUMMED)
    runs = session.execute(select(*columns).where(Run.created_at >= start, Run.created_at < end)).all()
    places: dict[tuple[str, ...], int] = {}
    for run in runs:
        places.setdefault(_identity(run), len(places))
    groups = np.array([places[_identity(run)] for run in runs], dtype=np.int64)
    sums = Sums.of_runs(runs, groups, len(places)).to_rows()
    return [
        {"bucket": bucket, **dict(zip(_IDENTITY, identity, strict=True)), **row}
        for identity, row in zip(places, sums, strict=True)
    ]


def _identity(run: Any) -> tuple[str, ...]:
    return tuple(getattr(run, name) or "" for name in _IDENTITY)


def _write(session: Session, bucket: int, changes: int | None, rows: list[dict[str, Any]]) -> None:
    row = RunBucket
    whole = (row.bucket == bucket, row.changes == changes, row.pruned_at.is_(None))
    unchanged = update(row).where(*whole).values(summed_at_changes=changes)
    if session.scalar(unchanged.returning(row.bucket)) is None:
        return
    session.execute(delete(RunRollup).where(RunRollup.bucket == bucket))
    if rows:
        session.execute(insert(RunRollup), rows)
