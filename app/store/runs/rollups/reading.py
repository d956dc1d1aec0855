"""Figures over many runs from what was summed up of them, over few from their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.store.runs.figures import Latency, Percentiles
from app.store.runs.queries import conditions
from app.store.runs.records import ALL_RUNS, RunFilter
from app.store.runs.rollups.buckets import WIDTH, bucket_of, start_of
from app.store.runs.rollups.covering import Missing, Which, covered, of_runs, rows_of
from app.store.runs.rollups.histogram import Floats, Ints
from app.store.runs.rollups.parts import TIMES, Identity, Parts
from app.store.runs.rollups.sums import Sums
from app.store.runs.schema import Run

EXACT_UP_TO = 5_000
"""So many runs are read one by one: their percentiles are then exact."""
MOST_UNSUMMED = 20_000
"""Changes of runs that were not summed up yet, each a run's beginning or end: these are read one by one, which takes
less than a second. Earlier ones are left to others, or left out until they are summed up."""
_KEPT_APART = (
    "models", "backends", "precisions", "config_hashes", "sources", "key_names", "since", "until", "viewer",
)  # fmt: skip
"""What a filter may ask for: sums say nothing of ratings, texts or tags."""
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of some runs."""

    parts: Parts
    edges: tuple[datetime, ...]
    """Of the stretches that its rows are numbered by."""
    times: Floats | None
    """Each row's `TIMES`, where a row is one run, ``[rows, TIMES]``; NaN where it counts into no percentile. ``None``
    where rows are sums."""
    disturbed: Ints | None
    """The same: 1 for disturbed runs, ``[rows]``."""
    missing: Missing | None = None
    """What is still to be summed up and not among them."""

    def sums(self, groups: Ints, number: int, *, with_disturbed: bool) -> tuple[Sums, list[Latency]]:
        """The figures of groups of its rows, which are numbered from 0, ``[rows]``."""
        sums = Sums.of(self.parts, groups, number)
        if self.times is None or self.disturbed is None:
            return sums, sums.latencies(with_disturbed=with_disturbed)
        counted = np.full(len(groups), True) if with_disturbed else self.disturbed == 0
        named = {
            name: _percentiles(self.times[counted, place], groups[counted], number) for place, name in enumerate(TIMES)
        }
        left_out = np.bincount(groups[~counted], minlength=number)
        return sums, [
            Latency(left_out=int(left_out[group]), **{name: each[group] for name, each in named.items()})
            for group in range(number)
        ]


def read(session: Session, filter: RunFilter, edges: Sequence[datetime], *, most: int | None = None) -> Read:
    """The runs that a filter lets through, by stretch of time: from what was summed up of them, or where they are few
    from their rows.

    Args:
        session: to read with.
        filter: which runs; its own beginning and end are not asked.
        edges: where one stretch begins and the other ends, ascending, at least two. Over many runs those between the
            first and the last are moved to quarters of an hour.
        most: see :func:`covered`.
    """
    if (found := summed(session, filter, edges, most=most)) is not None:
        return found
    filter = replace(filter, since=edges[0], until=edges[-1])
    if _some(session, filter) <= EXACT_UP_TO:
        return _one_by_one(session, filter, tuple(edges))
    many = Parts.together(list(of_runs(session, edges[0], edges[-1], edges, conditions(filter))))
    return Read(many, tuple(edges), None, None)


def summed(session: Session, filter: RunFilter, edges: Sequence[datetime], *, most: int | None = None) -> Read | None:
    """The same from what was summed up of the runs; ``None`` where the filter asks for what sums say nothing of, or so
    few runs are meant that their rows tell all of it exactly."""
    filter = replace(filter, since=edges[0], until=edges[-1])
    if replace(ALL_RUNS, **{name: getattr(filter, name) for name in _KEPT_APART}) != filter:
        return None
    runs, found = _some(session, filter), _from_sums(session, filter, edges, most)
    # rows may have been let go of, and the sums over them kept
    told_by_rows = runs == found.parts.runs or (found.missing is not None and runs > found.parts.runs)
    return None if runs <= EXACT_UP_TO and told_by_rows else found


def _some(session: Session, filter: RunFilter) -> int:
    """How many runs a filter lets through, or more than are read one by one."""
    some = select(Run.id).where(*conditions(filter)).limit(EXACT_UP_TO + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def _one_by_one(session: Session, filter: RunFilter, edges: tuple[datetime, ...]) -> Read:
    rows, stretch = rows_of(session, edges, conditions(filter))
    parts = Parts.of_runs(rows, stretch)
    finished = np.array([row.status == "finished" for row in rows], dtype=bool)
    times = np.array([[getattr(row, name) for name in TIMES] for row in rows], dtype=np.float64)
    times = times.reshape(len(rows), len(TIMES))
    times[~finished] = np.nan
    return Read(parts, edges, times, np.array([row.disturbed is True for row in rows], dtype=np.int64) * finished)


def _from_sums(session: Session, filter: RunFilter, edges: Sequence[datetime], most: int | None) -> Read:
    cut = tuple(dict.fromkeys((edges[0], *map(_to_quarter, edges[1:-1]), edges[-1])))
    cut = tuple(edge for edge in cut if edges[0] <= edge <= edges[-1])
    first, end = _quarter_from(cut[0]), bucket_of(cut[-1])
    wanted = conditions(filter)
    found: list[Parts] = []
    missing = None
    if first < end:
        inner = [edge for edge in map(bucket_of, cut[1:-1]) if first < edge < end]
        whole = [first, *inner, end]
        moved = np.searchsorted(
            np.array([edge.timestamp() for edge in cut]), [start_of(edge).timestamp() for edge in whole[:-1]], "right"
        )
        inside = covered(session, whole, which=_which(filter), wanted=wanted, most=most)
        missing = inside.missing
        for each in inside.parts:
            found.append(replace(each, stretch=moved[each.stretch] - 1))
        found += of_runs(session, cut[0], start_of(first), cut, wanted) if cut[0] < start_of(first) else []
        found += of_runs(session, start_of(end), cut[-1], cut, wanted) if start_of(end) < cut[-1] else []
    else:
        found += of_runs(session, cut[0], cut[-1], cut, wanted)
    return Read(Parts.together(found), cut, None, None, missing)


def _to_quarter(moment: datetime) -> datetime:
    return start_of(bucket_of(moment + WIDTH / 2))


def _quarter_from(moment: datetime) -> int:
    """The first quarter of an hour that does not begin before."""
    return bucket_of(moment + WIDTH - timedelta(microseconds=1))


def _which(filter: RunFilter) -> Which:
    among: dict[str, Sequence[str | None]] = {
        "model": filter.models,
        "backend": filter.backends,
        "precision": filter.precisions,
        "config_hash": filter.config_hashes,
        "source": filter.sources,
        "key_name": filter.key_names,
    }
    asked = [(name, {str(value or "") for value in values}) for name, values in among.items() if values]

    def which(identity: Identity) -> bool:
        return all(getattr(identity, name) in values for name, values in asked)

    return which


def _percentiles(values: Floats, groups: Ints, number: int) -> list[Percentiles]:
    """Nearest rank: the least value that is not below its share of all values."""
    known = ~np.isnan(values)
    values, groups = values[known], groups[known]
    order = np.lexsort((values, groups))
    values = values[order]
    many = np.bincount(groups, minlength=number)
    first = np.cumsum(many) - many
    found = []
    for group in range(number):
        count = int(many[group])
        ranks = np.arange(1, count + 1) / count if count else np.zeros(0)
        found.append(
            Percentiles(
                **{
                    name: float(values[first[group] + int(np.argmax(ranks >= share))]) if count else None
                    for name, share in _SHARES.items()
                }
            )
        )
    return found
