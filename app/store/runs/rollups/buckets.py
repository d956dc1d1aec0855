"""Stretches of time: which one a run belongs to, which have to be summed up, and that a run of one has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import cast

from sqlalchemy import BigInteger, Executable, Table, and_, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.identity import now
from app.store.runs.records import RunStatus
from app.store.runs.rollups.schema import RunBucket, RunRollup
from app.store.runs.schema import Run

QUARTER, HOUR, DAY = WIDTHS = (1, 4, 96)
"""In quarters of an hour. A reader's day begins where their clock says, so it is put together from days of UTC, and at
its two ends from hours and quarters of an hour."""
WIDTH = timedelta(minutes=15)
WIDTH_US = WIDTH // timedelta(microseconds=1)
INSERTS: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
"""By the name of the database: inserts that can change a row in place of adding it twice."""


def bucket_of(moment: datetime) -> int:
    """The quarter of an hour since 1970 UTC that a moment lies in."""
    return to_microseconds(moment) // WIDTH_US


def start_of(bucket: int) -> datetime:
    """The moment at which a quarter of an hour begins."""
    return from_microseconds(bucket * WIDTH_US)


def present() -> int:
    """The quarter of an hour that is not over yet."""
    return bucket_of(now())


def has_changed(session: Session, created: Iterable[datetime]) -> frozenset[int]:
    """Note that runs that were started at these moments were begun, ended or deleted, in the transaction of that.

    Returns:
        The quarters of an hour of which this is not noted, for runs of them were pruned; see `adding`.
    """
    noted, pruned = _noted(session.get_bind().dialect.name), set()
    for bucket, times in sorted(Counter(map(bucket_of, created)).items()):
        if session.scalar(noted, {"bucket": bucket, "changes": times}) is None:
            pruned.add(bucket)
    return frozenset(pruned)


@cache
def _noted(dialect: str) -> Executable:
    """The statement that notes changes of a bucket, and gives its number if it does; made once, for it stands in what
    every run writes."""
    table = cast(Table, RunBucket.__table__)
    insert = INSERTS[dialect](table)
    more = {"changes": table.c.changes + insert.excluded.changes}
    whole = table.c.pruned_at.is_(None)  # the sums of runs of which some were pruned cannot be made again
    noted = insert.on_conflict_do_update(index_elements=[table.c.bucket], set_=more, where=whole)
    return noted.returning(table.c.bucket)


def stale(session: Session, width: int, *, limit: int) -> tuple[int, ...]:
    """Stretches of a width that are over and have to be summed up, the newest first: they are looked at most."""
    number = (RunBucket.bucket // literal_column(str(width), BigInteger)).label("number")
    changed = select(number, func.sum(RunBucket.changes).label("changes")).group_by(number).subquery()
    made = and_(RunRollup.width == width, RunRollup.bucket == changed.c.number)
    found = (
        select(changed.c.number)
        .outerjoin(RunRollup, made)
        .where(
            changed.c.number < present() // width,
            RunRollup.changes.is_distinct_from(changed.c.changes),
        )
        .order_by(changed.c.number.desc())
    )
    return tuple(session.scalars(found.limit(limit)))


def changes_of(session: Session, first: int, end: int) -> dict[int, int]:
    """How often each quarter of an hour from ``first`` to before ``end`` has changed, in order; those without runs are
    left out."""
    rows = select(RunBucket.bucket, RunBucket.changes).where(RunBucket.bucket >= first, RunBucket.bucket < end)
    found = session.execute(rows.order_by(RunBucket.bucket)).all()
    return dict(zip((row.bucket for row in found), (row.changes for row in found), strict=True))


def holding_among(session: Session, buckets: Collection[int]) -> set[int]:
    """Those whose sums are of their runs as they are, all of them over, and go on being so until the transaction
    ends."""
    made = and_(
        RunRollup.width == QUARTER, RunRollup.bucket == RunBucket.bucket, RunRollup.changes == RunBucket.changes
    )
    over = [bucket for bucket in buckets if not _is_under_way(session, bucket)]
    holding = select(RunBucket.bucket).join(RunRollup, made).where(RunBucket.bucket.in_(over))
    return set(session.scalars(holding.with_for_update(of=RunBucket)))


def _is_under_way(session: Session, bucket: int) -> bool:
    started = (Run.created_at >= start_of(bucket), Run.created_at < start_of(bucket + 1))
    running = select(Run.id).where(*started, Run.status == RunStatus.RUNNING).limit(1)
    return session.scalar(running) is not None


def mark_pruned(session: Session, buckets: Collection[int]) -> None:
    """Let the sums of these stay as they are: some of their runs are there no more."""
    session.execute(update(RunBucket).where(RunBucket.bucket.in_(buckets)).values(pruned_at=now()))


def first_and_last(session: Session) -> tuple[int, int] | None:
    """The earliest and the latest quarter of an hour in which a run was started; ``None`` without any."""
    first, last = session.execute(select(func.min(RunBucket.bucket), func.max(RunBucket.bucket))).one()
    return None if first is None else (first, last)
