"""Figures over many runs from what was summed up of them, and from the rows of what was not yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
from sqlalchemy import ColumnElement, and_, false, func, literal, literal_column, or_, select
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.database.identity import now
from app.store.runs.queries import conditions
from app.store.runs.records import ALL_RUNS, RunFilter
from app.store.runs.rollups.buckets import WIDTH_US, any_pruned, bucket_of, first_bucket, holds, stale_among
from app.store.runs.rollups.histogram import Ints
from app.store.runs.rollups.making import SUMMED
from app.store.runs.rollups.schema import RunBucket, RunRollup
from app.store.runs.rollups.sums import COUNTS, PEAKS, Sums
from app.store.runs.schema import Run

EXACT_UP_TO = 20_000
"""So many runs are read one by one: their percentiles are then exact."""
_MOST_STRETCHES = 100
"""Of time that are read from rows; with more, too little is summed up yet."""
_KEPT_APART = ("models", "backends", "precisions", "config_hashes", "sources", "since", "until", "viewer")
"""What a filter may ask for: sums say nothing of ratings, texts or tags."""

Stretch = tuple[datetime, datetime | None]
"""From when to before when; ``None`` is without end."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Sums of some runs, by group."""

    keys: tuple[Any, ...]
    """In order."""
    sums: Sums


@dataclass(frozen=True, slots=True)
class Key:
    """What runs are grouped by."""

    of_rollup: ColumnElement[Any]
    """In SQL, of a row of sums."""
    of_run: Callable[[Any], Any]
    """Of a run's row with ``config_hash`` and ``created_at``."""


ALL_TOGETHER = Key(literal(0), lambda run: 0)
"""One group."""
EACH_CONFIGURATION = Key(cast("ColumnElement[Any]", RunRollup.config_hash), lambda run: run.config_hash)
"""By the configuration's hash."""


def each_stretch(width_us: int) -> Key:
    """By stretch of time, by its number since 1970 UTC.

    Args:
        width_us: microseconds, a multiple of `WIDTH_US`.
    """
    buckets = width_us // WIDTH_US
    return Key(
        RunRollup.bucket // literal_column(str(buckets)), lambda run: to_microseconds(run.created_at) // width_us
    )


def summed(session: Session, filter: RunFilter, *keys: Key) -> tuple[Grouped, ...] | None:
    """The sums over the runs that a filter lets through; ``None`` where their rows must be read: they are few, too
    little is summed up yet, or the filter asks for what is not kept with the sums.

    Args:
        session: to read with.
        filter: which runs.
        keys: what they are grouped by, once for each.
    """
    if replace(ALL_RUNS, **{name: getattr(filter, name) for name in _KEPT_APART}) != filter:
        return None
    first = first_bucket(session) if filter.since is None else -(-to_microseconds(filter.since) // WIDTH_US)
    end = bucket_of(now() if filter.until is None else min(now(), filter.until))
    if first is None or first >= end or not (_many(session, filter) or any_pruned(session, first, end)):
        return None
    read = _stretches(session, filter, first, end)
    if len(read) > _MOST_STRETCHES:
        return None
    added = _added_up(session, filter, first, end, keys)
    started = or_(false(), *(_started(stretch) for stretch in read))
    runs = session.execute(select(Run.config_hash, Run.created_at, *SUMMED).where(*conditions(filter), started)).all()
    if not added.rows and not runs:
        return None
    return tuple(_grouped(added, runs, place, key) for place, key in enumerate(keys))


@dataclass(frozen=True, slots=True)
class _Added:
    """Rollups, added up by the database as far as it can."""

    rows: Sequence[Any]
    """Each with its keys, then its sums and peaks."""
    packed: Sequence[Any]
    """Each rollup's keys, then its histograms."""


def _added_up(session: Session, filter: RunFilter, first: int, end: int, keys: Sequence[Key]) -> _Added:
    own = [key.of_rollup.label(f"key_{place}") for place, key in enumerate(keys)]
    chosen = (
        select(*own, RunRollup.histograms, *(_column(name) for name in (*COUNTS, *PEAKS)))
        .join(RunBucket, RunBucket.bucket == RunRollup.bucket)
        .where(RunRollup.bucket >= first, RunRollup.bucket < end, holds(), *_of_rollups(filter))
        .subquery()
    )
    of_each = [chosen.c[label.name] for label in own]
    sums = [func.sum(chosen.c[name]).label(name) for name in COUNTS]
    peaks = [func.max(chosen.c[name]).label(name) for name in PEAKS]
    rows = session.execute(select(*of_each, *sums, *peaks).group_by(*of_each)).all()
    return _Added(rows, session.execute(select(*of_each, chosen.c.histograms)).all())


def _grouped(added: _Added, runs: Sequence[Any], place: int, key: Key) -> Grouped:
    """By the key in this place."""
    of_rows, of_packed = [row[place] for row in added.rows], [row[place] for row in added.packed]
    of_runs = [key.of_run(run) for run in runs]
    groups = tuple(sorted({*of_rows, *of_runs}))
    number_of = {group: number for number, group in enumerate(groups)}

    def numbers(of: Sequence[Any]) -> Ints:
        return np.array([number_of[each] for each in of], dtype=np.int64)

    histograms = [row.histograms for row in added.packed]
    known = Sums.of_rollups(added.rows, numbers(of_rows), histograms, numbers(of_packed), len(groups))
    return Grouped(groups, known.with_more(Sums.of_runs(runs, numbers(of_runs), len(groups))))


def _column(name: str) -> Any:
    return getattr(RunRollup, name)


def _many(session: Session, filter: RunFilter) -> bool:
    some = select(Run.id).where(*conditions(filter)).limit(EXACT_UP_TO + 1).subquery()
    return (session.scalar(select(func.count()).select_from(some)) or 0) > EXACT_UP_TO


def _stretches(session: Session, filter: RunFilter, first: int, end: int) -> list[Stretch]:
    """Of which the rows must be read: what lies before the first whole bucket and after the last, and those between
    that were not summed up since they changed."""
    found: list[Stretch] = [(_start(a), _start(b)) for a, b in _together(stale_among(session, first, end))]
    if filter.since is not None and filter.since < _start(first):
        found.append((filter.since, _start(first)))
    if filter.until is None or _start(end) < filter.until:
        found.append((_start(end), filter.until))
    return found


def _together(buckets: Sequence[int]) -> list[tuple[int, int]]:
    """From which to before which they follow one another."""
    found: list[tuple[int, int]] = []
    for bucket in buckets:
        if found and found[-1][1] == bucket:
            found[-1] = found[-1][0], bucket + 1
        else:
            found.append((bucket, bucket + 1))
    return found


def _start(bucket: int) -> datetime:
    return from_microseconds(bucket * WIDTH_US)


def _started(stretch: Stretch) -> ColumnElement[bool]:
    since, until = stretch
    after = Run.created_at >= since
    return after if until is None else and_(after, Run.created_at < until)


def _of_rollups(filter: RunFilter) -> list[ColumnElement[bool]]:
    among = {"model": filter.models, "backend": filter.backends, "precision": filter.precisions}
    among["config_hash"] = filter.config_hashes
    wanted = [_column(name).in_(values) for name, values in among.items() if values]
    return [*wanted, RunRollup.source.in_([source or "" for source in filter.sources])] if filter.sources else wanted
