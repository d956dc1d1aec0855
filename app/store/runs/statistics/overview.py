"""Figures over runs: read from their rows where they are few, from what was summed up of them where they are many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds
from app.store.runs.figures import ConfigurationStats, Latency, TimeBucket, Totals
from app.store.runs.records import RunFilter
from app.store.runs.rollups.buckets import WIDTH
from app.store.runs.rollups.reading import ALL_TOGETHER, EACH_CONFIGURATION, Grouped, each_stretch, summed
from app.store.runs.statistics import exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that a dashboard shows of some runs at once."""

    totals: Totals
    latency: Latency
    over_time: tuple[TimeBucket, ...]
    by_configuration: tuple[ConfigurationStats, ...]
    """The most used first, at most so many as were asked for."""
    configurations: int
    """How many there are."""


def overview(session: Session, filter: RunFilter, bucket: timedelta, limit: int, with_disturbed: bool) -> Overview:
    """Counts and percentiles over the runs that the filter lets through, by stretch of time and by configuration.

    Args:
        session: to read with.
        filter: which runs.
        bucket: a stretch of time; they are counted from 1970 UTC.
        limit: how many configurations at most.
        with_disturbed: whether percentiles are of disturbed runs too.
    """
    width = bucket // timedelta(microseconds=1)
    found = None if bucket % WIDTH else summed(session, filter, ALL_TOGETHER, each_stretch(width), EACH_CONFIGURATION)
    if found is None:
        return Overview(
            totals=exact.totals(session, filter),
            latency=exact.latency(session, filter, with_disturbed),
            over_time=exact.over_time(session, filter, bucket, with_disturbed),
            by_configuration=exact.by_configuration(session, filter, limit, with_disturbed),
            configurations=exact.count_configurations(session, filter),
        )
    whole, stretches, configurations = found
    used = sorted(_figures(configurations, with_disturbed), key=lambda each: (-each[1].runs, each[0]))
    return Overview(
        totals=whole.sums.totals()[0],
        latency=whole.sums.latencies(with_disturbed=with_disturbed)[0],
        over_time=tuple(
            TimeBucket(start=from_microseconds(number * width), totals=counts, latency=times)
            for number, counts, times in _figures(stretches, with_disturbed)
        ),
        by_configuration=tuple(
            ConfigurationStats(configuration=exact.configuration(session, key), totals=counts, latency=times)
            for key, counts, times in used[:limit]
        ),
        configurations=len(used),
    )


def _figures(grouped: Grouped, with_disturbed: bool) -> Iterator[tuple[Any, Totals, Latency]]:
    sums = grouped.sums
    return zip(grouped.keys, sums.totals(), sums.latencies(with_disturbed=with_disturbed), strict=True)
