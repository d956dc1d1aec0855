"""All that a dashboard shows of some runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from app.store.runs.figures import ConfigurationStats, GroupStats, KindStats, Latency, TimeBucket, Totals, Work
from app.store.runs.records import RunFilter
from app.store.runs.rollups.buckets import first_and_last, start_of
from app.store.runs.rollups.covering import Missing
from app.store.runs.rollups.parts import COUNTS, Identity
from app.store.runs.rollups.reading import MOST_UNSUMMED, Read, read
from app.store.runs.rollups.sums import Sums
from app.store.runs.statistics import exact

_MOST_NAMES = 50
"""Of models, sources and keys each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that a dashboard shows of some runs at once."""

    totals: Totals
    latency: Latency
    work: Work
    over_time: tuple[TimeBucket, ...]
    """Stretches without runs are left out."""
    edges: tuple[datetime, ...]
    """Where one stretch begins and the other ends: as asked for, or over many runs at quarters of an hour."""
    by_configuration: tuple[ConfigurationStats, ...]
    """The most used first, at most so many as were asked for."""
    configurations: int
    """How many there are."""
    by_model: tuple[GroupStats, ...]
    """The most used first, like those below."""
    by_precision: tuple[GroupStats, ...]
    by_source: tuple[GroupStats, ...]
    by_key: tuple[GroupStats, ...]
    """By what the API's keys are called."""
    by_kind: tuple[KindStats, ...]
    """All that there are, up to twice each: what was summed up together with runs that shared their passes is apart."""
    is_exact: bool
    """Whether percentiles are those of the runs themselves, and not to 1 %."""
    missing: Missing | None
    """Runs that count into nothing yet, because the background is still to sum them up; ``None`` where all count."""


def overview(
    session: Session, filter: RunFilter, edges: Sequence[datetime], limit: int, with_disturbed: bool
) -> Overview:
    """Figures over the runs that the filter lets through, by stretch of time, configuration, model, source and key.

    Args:
        session: to read with.
        filter: which runs; its own beginning and end are not asked.
        edges: where one stretch begins and the other ends, ascending, at least two.
        limit: how many configurations at most.
        with_disturbed: whether percentiles are of disturbed runs too.
    """
    found = read(session, filter, edges, most=MOST_UNSUMMED)
    parts = found.parts
    grouped = _Grouped(found, with_disturbed)
    whole = grouped.by(np.zeros_like(parts.stretch), 1)
    numbers, places = np.unique(parts.stretch, return_inverse=True)
    stretches = grouped.by(places.reshape(-1), len(numbers))
    precisions = grouped.precisions(places.reshape(-1), len(numbers))
    configurations = grouped.named(lambda each: each.config_hash, limit)
    identities = {each.config_hash: each for each in grouped.identities}

    def named(name: Callable[[Identity], str]) -> tuple[GroupStats, ...]:
        rows = grouped.named(name, _MOST_NAMES)
        return tuple(
            GroupStats(name=key, totals=totals, latency=latency, work=work) for key, (totals, latency, work) in rows
        )

    return Overview(
        totals=whole[0][0],
        latency=whole[0][1],
        work=whole[0][2],
        over_time=tuple(
            TimeBucket(
                start=found.edges[at],
                end=found.edges[at + 1],
                totals=totals,
                latency=latency,
                work=work,
                precisions=used,
            )
            for at, (totals, latency, work), used in zip(numbers.tolist(), stretches, precisions, strict=True)
        ),
        edges=found.edges,
        by_configuration=tuple(
            ConfigurationStats(
                configuration=exact.configuration(session, identities[key]), totals=totals, latency=latency, work=work
            )
            for key, (totals, latency, work) in configurations
        ),
        configurations=len(identities),
        by_model=named(lambda each: each.model),
        by_precision=named(lambda each: each.precision),
        by_source=named(lambda each: each.source),
        by_key=named(lambda each: each.key_name),
        by_kind=grouped.kinds(),
        is_exact=found.times is not None,
        missing=found.missing,
    )


_Figures = tuple[Totals, Latency, Work]


class _Grouped:
    """The figures of groups of what was read."""

    def __init__(self, found: Read, with_disturbed: bool) -> None:
        self._found, self._with_disturbed = found, with_disturbed
        seen = np.unique(found.parts.identity).tolist()
        self.identities = tuple(found.parts.identities[place] for place in seen)
        """Those that have runs."""

    def by(self, groups: Any, number: int) -> list[_Figures]:
        """Of each group, ``groups`` saying which a row is in."""
        sums, latencies = self._found.sums(groups, number, with_disturbed=self._with_disturbed)
        return list(zip(sums.totals(), latencies, sums.works(), strict=True))

    def precisions(self, groups: Any, number: int) -> list[dict[str, int]]:
        """Of each group, its runs by precision."""
        parts = self._found.parts
        names = sorted({each.precision for each in parts.identities})
        of_identity = np.array([names.index(each.precision) for each in parts.identities], dtype=np.int64)
        runs = np.zeros((number, len(names)), dtype=np.int64)
        np.add.at(runs, (groups, of_identity[parts.identity]), parts.counts[:, COUNTS.index("runs")])
        return [{name: count for name, count in zip(names, row, strict=True) if count} for row in runs.tolist()]

    def kinds(self) -> tuple[KindStats, ...]:
        """By backend, model and precision, and by whether runs among them shared their passes."""
        parts = self._found.parts
        shared = parts.counts[:, COUNTS.index("shared")] > 0
        kinds: dict[tuple[str, str, str], int] = {}
        each_kind = [kinds.setdefault((o.backend, o.model, o.precision), len(kinds)) for o in parts.identities]
        groups = 2 * np.array(each_kind, dtype=np.int64)[parts.identity] + shared
        sums = Sums.of(parts, groups, 2 * len(kinds))
        figures = zip(sums.totals(), sums.works(), strict=True)
        named = ((*kind, *next(figures)) for kind in kinds for _ in range(2))
        found = (
            KindStats(backend=backend, model=model, precision=precision, totals=totals, work=work)
            for backend, model, precision, totals, work in named
        )
        return tuple(each for each in found if each.totals.runs)

    def named(self, name: Callable[[Identity], str], limit: int) -> list[tuple[str, _Figures]]:
        """Of the largest groups of runs whose identities have the same name."""
        parts = self._found.parts
        names = [name(each) for each in parts.identities]
        runs: dict[str, int] = {}
        per_identity = np.bincount(parts.identity, parts.counts[:, COUNTS.index("runs")], minlength=len(names))
        for each, count in zip(names, per_identity, strict=True):
            runs[each] = runs.get(each, 0) + int(count)
        used = sorted((key for key, count in runs.items() if count), key=lambda key: (-runs[key], key))[:limit]
        place = {key: number for number, key in enumerate(used)}
        rest = len(used)
        groups = np.array([place.get(each, rest) for each in names], dtype=np.int64)[parts.identity]
        return list(zip(used, self.by(groups, rest + 1), strict=False))


def stretch_of_all(session: Session) -> tuple[datetime, datetime] | None:
    """From when to when runs were started, to a quarter of an hour; ``None`` without any."""
    known = first_and_last(session)
    return known and (start_of(known[0]), start_of(known[1] + 1))
