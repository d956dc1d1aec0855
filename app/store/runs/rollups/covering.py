"""Covering a stretch of time with what was summed up of it, as coarsely as may be, and with the runs of the rest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, ColumnElement, Row, and_, or_, select, type_coerce
from sqlalchemy.orm import Session

from app.store.database.columns import to_microseconds
from app.store.runs.rollups.buckets import WIDTHS, changes_of, present, start_of
from app.store.runs.rollups.histogram import Ints
from app.store.runs.rollups.packing import unpack
from app.store.runs.rollups.parts import OF_RUN, Identity, Parts
from app.store.runs.rollups.schema import RunRollup
from app.store.runs.schema import Run

_MOST_RANGES = 100
"""That one statement asks for; where there would be more, they are joined, gaps and all."""
_ROWS_AT_ONCE = 20_000
RUNS = select(
    type_coerce(Run.created_at, BigInteger).label("created_us"),
    *(getattr(Run, name) for name in dict.fromkeys((*Identity._fields, *OF_RUN))),
)
"""What is read of runs."""

Range = tuple[int, int]
"""From which number to before which."""
Which = Callable[[Identity], bool]


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not among the sums over a stretch of time, for it is still to be summed up."""

    since: datetime
    until: datetime
    """From when to when what is missing was started; what lies between may be there."""
    share: float
    """Of what there is to be summed up, about, above 0."""
    ranges: tuple[tuple[datetime, datetime], ...]
    """From when to when nothing of it is there, in order."""


@dataclass(frozen=True, slots=True)
class Covered:
    """The sums over a stretch of time."""

    parts: list[Parts]
    missing: Missing | None
    """``None`` where nothing is."""


def covered(
    session: Session,
    edges: Sequence[int],
    *,
    which: Which,
    wanted: Sequence[ColumnElement[bool]] = (),
    below: int | None = None,
    most: int | None = None,
) -> Covered:
    """The sums over the runs between the first and the last of some quarters of an hour.

    Args:
        session: to read with.
        edges: quarters of an hour, ascending; rows have the number of the stretch between two of them that they are of.
        which: whether runs of an identity are meant.
        wanted: the same of runs, in SQL.
        below: the width that sums must be finer than; ``None`` takes all.
        most: changes of runs that are over and not summed up: where there are more, the earlier ones are left out.
            ``None`` reads all of them.
    """
    changes = changes_of(session, edges[0], edges[-1])
    left = list(changes)
    found: list[Parts] = []
    for width in (width for width in reversed(WIDTHS) if below is None or width < below):
        whole = _whole(left, width, edges)
        if not whole:
            continue
        made = _made(session, width, whole, changes)
        done: set[int] = set()
        for number, payload in made:
            stretch = bisect_right(edges, number * width) - 1
            parts = unpack(payload, stretch)
            found.append(parts.only([which(each) for each in parts.identities]))
            done.add(number)
        left = [bucket for bucket in left if bucket // width not in done]
    late = [] if most is None else _beyond(left, changes, most)
    moments = [start_of(edge) for edge in edges]
    for first, end in _following(left[len(late) :], list(changes)):
        found += of_runs(session, start_of(first), start_of(end), moments, wanted)
    if not late:
        return Covered(found, None)
    share = sum(changes[bucket] for bucket in late) / sum(changes.values())
    ranges = tuple((start_of(first), start_of(end)) for first, end in _following(late, list(changes)))
    return Covered(found, Missing(start_of(late[0]), start_of(late[-1] + 1), share, ranges))


def _beyond(left: Sequence[int], changes: Mapping[int, int], most: int) -> list[int]:
    """The first of some quarters of an hour in order, which are one too many: after them so many changes are left."""
    first_open, known = present(), 0
    for place in range(len(left) - 1, -1, -1):
        known += changes[left[place]] if left[place] < first_open else 0
        if known > most:
            return list(left[: place + 1])
    return []


def of_runs(
    session: Session,
    since: datetime | None,
    until: datetime | None,
    edges: Sequence[datetime],
    wanted: Sequence[ColumnElement[bool]] = (),
) -> Iterator[Parts]:
    """The sums over runs, from their rows.

    Args:
        session: to read with.
        since: they were started then or later; ``None`` has no beginning.
        until: they were started before; ``None`` has no end.
        edges: of the stretches that rows have the numbers of.
        wanted: which runs are meant, in SQL.
    """
    started = [] if since is None else [Run.created_at >= since]
    started += [] if until is None else [Run.created_at < until]
    rows = session.execute(RUNS.where(*started, *wanted).execution_options(yield_per=_ROWS_AT_ONCE))
    for some in rows.partitions():
        yield Parts.of_runs(some, _stretches(some, edges)).added_up()


def rows_of(
    session: Session, edges: Sequence[datetime], wanted: Sequence[ColumnElement[bool]]
) -> tuple[Sequence[Row[Any]], Ints]:
    """The columns of runs that sums are made of, and which stretch each was started in, ``[rows]``."""
    rows = session.execute(RUNS.where(*wanted)).all()
    return rows, _stretches(rows, edges)


def _stretches(rows: Sequence[Any], edges: Sequence[datetime]) -> Ints:
    places = np.array([to_microseconds(edge) for edge in edges], dtype=np.int64)
    return np.searchsorted(places, np.array([row.created_us for row in rows], dtype=np.int64), "right") - 1


def _whole(left: Sequence[int], width: int, edges: Sequence[int]) -> list[int]:
    """The stretches of a width with quarters of an hour that are left, none of which an edge cuts."""
    return [
        number
        for number in dict.fromkeys(bucket // width for bucket in left)
        if (place := bisect_right(edges, number * width))
        and place < len(edges)
        and edges[place] >= (number + 1) * width
    ]


def _made(
    session: Session, width: int, numbers: Sequence[int], changes: Mapping[int, int]
) -> Iterator[tuple[int, bytes]]:
    """What was summed up of those stretches and is still so."""
    now: dict[int, int] = {}
    for bucket, count in changes.items():
        now[bucket // width] = now.get(bucket // width, 0) + count
    among = or_(*(and_(RunRollup.bucket >= a, RunRollup.bucket < b) for a, b in _ranges(numbers)))
    rows = select(RunRollup.bucket, RunRollup.changes, RunRollup.payload).where(RunRollup.width == width, among)
    meant = set(numbers)
    for number, then, payload in session.execute(rows):
        if number in meant and now[number] == then:
            yield number, payload


def _ranges(numbers: Sequence[int]) -> list[Range]:
    """Numbers in order, those that follow one another together; all of them where that would be too many ranges."""
    found: list[Range] = []
    for number in numbers:
        if found and found[-1][1] == number:
            found[-1] = found[-1][0], number + 1
        else:
            found.append((number, number + 1))
    return found if len(found) <= _MOST_RANGES else [(found[0][0], found[-1][1])]


def _following(left: Sequence[int], known: Sequence[int]) -> list[Range]:
    """Quarters of an hour in order, those together between which there are no others with runs."""
    found: list[Range] = []
    meant, goes_on = set(left), False
    for bucket in known:
        if bucket in meant:
            first = found.pop()[0] if goes_on else bucket
            found.append((first, bucket + 1))
        goes_on = bucket in meant
    return found
