"""Quarters of an hour: which one a run belongs to, which were summed up, and that a run of one has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import cast

from sqlalchemy import ColumnElement, Table, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.database.columns import to_microseconds
from app.store.database.identity import now
from app.store.runs.rollups.schema import RunBucket

WIDTH = timedelta(minutes=15)
WIDTH_US = WIDTH // timedelta(microseconds=1)
_INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def bucket_of(moment: datetime) -> int:
    """The quarter of an hour since 1970 UTC that a moment lies in."""
    return to_microseconds(moment) // WIDTH_US


def has_changed(session: Session, created: Iterable[datetime]) -> None:
    """Note that runs that were started at these moments were begun, ended or deleted, in the transaction of that."""
    noted = _noted(session.get_bind().dialect.name)
    for bucket, times in sorted(Counter(map(bucket_of, created)).items()):
        session.execute(noted, {"bucket": bucket, "changes": times})


@cache
def _noted(dialect: str) -> sqlite.Insert | postgresql.Insert:
    """The statement that notes changes of a bucket; made once, for it stands in what every run writes."""
    table = cast(Table, RunBucket.__table__)
    insert = _INSERTS[dialect](table)
    more = {"changes": table.c.changes + insert.excluded.changes}
    return insert.on_conflict_do_update(index_elements=[table.c.bucket], set_=more)


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
    """Whether the sums over a bucket are those of its runs, or of runs that were pruned, which nothing can sum up
    again."""
    return or_(RunBucket.summed_at_changes.is_not_distinct_from(RunBucket.changes), RunBucket.pruned_at.is_not(None))


def holding_among(session: Session, buckets: Collection[int]) -> set[int]:
    """Those whose sums hold, and go on holding until the transaction ends."""
    holding = select(RunBucket.bucket).where(RunBucket.bucket.in_(buckets), holds()).with_for_update()
    return set(session.scalars(holding))


def mark_pruned(session: Session, buckets: Collection[int]) -> None:
    """Let the sums of these stay as they are: some of their runs are there no more."""
    session.execute(update(RunBucket).where(RunBucket.bucket.in_(buckets)).values(pruned_at=now()))


def any_pruned(session: Session, first: int, end: int) -> bool:
    """Whether runs were pruned of any from ``first`` to before ``end``: their rows do not tell all."""
    pruned = select(RunBucket.bucket).where(RunBucket.pruned_at.is_not(None))
    return session.scalar(pruned.where(RunBucket.bucket >= first, RunBucket.bucket < end).limit(1)) is not None
