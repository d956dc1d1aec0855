"""Summing up the runs of stretches of time that are over: of quarters of an hour, and of those hours and days."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Table
from sqlalchemy.orm import Session

from app.store.database.session import Database
from app.store.runs.rollups.buckets import INSERTS, QUARTER, WIDTHS, changes_of, stale
from app.store.runs.rollups.covering import covered
from app.store.runs.rollups.packing import pack
from app.store.runs.rollups.parts import Parts
from app.store.runs.rollups.schema import RunBucket, RunRollup


def sum_up(database: Database, *, most: int) -> bool:
    """Sum up the runs of at most so many stretches of each width that are over; says whether there are more.

    Each is summed up in a reading transaction and written in another, so that nobody waits for the sums; where one of
    its runs changes meanwhile, they are of the past already, and it stays to be summed up.

    Raises:
        StoreError: the database cannot be used.
    """
    for width in WIDTHS:
        with database.read() as session:
            numbers = stale(session, width, limit=most + 1)
        for number in numbers[:most]:
            with database.read() as session:
                changes, parts = _summed(session, width, number)
            with database.write(hasty=True) as session:
                _write(session, width, number, changes, parts)
        if len(numbers) > most:
            return True  # what is coarser is made of these
    return False


def _summed(session: Session, width: int, number: int) -> tuple[int, Parts]:
    first, end = number * width, (number + 1) * width
    changes = sum(changes_of(session, first, end).values())
    parts = Parts.together(covered(session, [first, end], which=lambda _: True, below=width).parts)
    return changes, parts.in_stretch(number).added_up()


def _write(session: Session, width: int, number: int, changes: int, parts: Parts) -> None:
    if width == QUARTER:
        bucket = session.get(RunBucket, number, with_for_update=True)
        if bucket is None or bucket.changes != changes or bucket.pruned_at is not None:
            return  # of the past, or of what pruning has left: the sums from before tell more
    made = {"changes": changes, "payload": pack(parts)}
    table = cast(Table, RunRollup.__table__)
    insert = INSERTS[session.get_bind().dialect.name](table).values(width=width, bucket=number, **made)
    # another server may have been first; whose sums are of the past is made anew
    session.execute(insert.on_conflict_do_update(index_elements=[table.c.width, table.c.bucket], set_=made))
