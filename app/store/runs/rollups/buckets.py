"""Quarters of an hour: which one a run belongs to, which were summed up, and that a run of one has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.database.columns import to_microseconds
from app.store.database.identity import now
from app.store.runs.rollups.schema import RunBucket

WIDTH = timedelta(minutes=15)
WIDTH_US = WIDTH // timedelta(microseconds=1)
_INSERTS: Mapping[str, Callable[[type[RunBucket]], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def bucket_of(moment: datetime) -> int:
    """The quarter of an hour since 1970 UTC that a moment lies in."""
    return to_microseconds(moment) // WIDTH_US


def has_changed(session: Session, created: Iterable[datetime]) -> None:
    """Note that runs that were started at these moments were begun, ended or deleted, in the transaction of that."""
    row = RunBucket
    insert = _INSERTS[session.get_bind().dialect.name]
    for bucket, times in sorted(Counter(map(bucket_of, created)).items()):
        noted = insert(row).values(bucket=bucket, changes=times)
        session.execute(noted.on_conflict_do_update(index_elements=[row.bucket], set_={"changes": row.changes + times}))


def stale_buckets(session: Session, *, limit: int) -> tuple[int, ...]:
    """Those that are over and have to be summed up, the newest first: they are looked at most."""
    row = RunBucket
    stale = select(row.bucket).where(row.bucket < bucket_of(now()), ~holds()).order_by(row.bucket.desc())
    return tuple(session.scalars(stale.limit(limit)))


def stale_among(session: Session, first: int, end: int) -> tuple[int, ...]:
    """Those from ``first`` to before ``end`` whose runs must be read, in order."""
    row = RunBucket
    stale = select(row.bucket).where(row.bucket >= first, row.bucket < end, ~holds())
    return tuple(session.scalars(stale.order_by(row.bucket)))


def first_bucket(session: Session) -> int | None:
    """The earliest in which a run was started; ``None`` without any."""
    return session.scalar(select(func.min(RunBucket.bucket)))


def holds() -> ColumnElement[bool]:
    """Whether the sums over a bucket are those of its runs."""
    return RunBucket.summed_at_changes.is_not_distinct_from(RunBucket.changes)
