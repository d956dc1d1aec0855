"""Aggregates over runs, reckoned by the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Row,
    SQLColumnExpression,
    Text,
    case,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds
from app.store.runs.figures import ConfigurationStats, Latency, Percentiles, RecentSpeed, TimeBucket, Totals
from app.store.runs.queries import conditions, gears_of
from app.store.runs.records import WITHOUT_LABS, Configuration, RunFilter, RunStatus
from app.store.runs.rollups.parts import Identity
from app.store.runs.schema import Run, RunContent
from engine.types import GearKind, OptimizationConfig, backends_with, is_shared

_ALL = literal(0, BigInteger)
"""The key that puts every run into the same group."""
_LOADED_FROM_S = 0.5
"""A run that took less to make its model ready found it in memory."""
_NO_RUNS = Totals(
    runs=0,
    finished=0,
    stopped=0,
    failed=0,
    interrupted=0,
    running=0,
    prompt_tokens=0,
    cached_tokens=0,
    completion_tokens=0,
    drafted_tokens=0,
    accepted_tokens=0,
    discarded_tokens=0,
    disturbed=0,
    weights_bytes=None,
    kv_bytes=None,
    peak_rss_bytes=None,
)


def totals(session: Session, filter: RunFilter) -> Totals:
    """Counts over the runs that the filter lets through."""
    return _totals(session, filter, _ALL).get(0, _NO_RUNS)


def latency(session: Session, filter: RunFilter, with_disturbed: bool) -> Latency:
    """Percentiles over the finished runs among them."""
    return _latencies(session, filter, _ALL, with_disturbed).get(0, Latency())


def over_time(session: Session, filter: RunFilter, bucket: timedelta, with_disturbed: bool) -> tuple[TimeBucket, ...]:
    """Counts and percentiles per stretch of time, counted from 1970 UTC; oldest first."""
    width = bucket // timedelta(microseconds=1)
    key = type_coerce(Run.created_at, BigInteger) // width
    latencies = _latencies(session, filter, key, with_disturbed)
    return tuple(
        TimeBucket(start=from_microseconds(number * width), totals=counts, latency=latencies.get(number, Latency()))
        for number, counts in sorted(_totals(session, filter, key).items())
    )


def by_configuration(
    session: Session, filter: RunFilter, limit: int, with_disturbed: bool
) -> tuple[ConfigurationStats, ...]:
    """Counts and percentiles of the most used configurations, the most used first."""
    used = configurations(session, filter, limit)
    if len(used) == limit:
        filter = replace(filter, config_hashes=tuple(configuration.config_hash for configuration in used))
    counts = _totals(session, filter, Run.config_hash)
    latencies = _latencies(session, filter, Run.config_hash, with_disturbed)
    return tuple(
        ConfigurationStats(
            configuration=configuration,
            totals=counts[configuration.config_hash],
            latency=latencies.get(configuration.config_hash, Latency()),
        )
        for configuration in used
    )


def recent_speeds(session: Session, model: str, limit: int, host: str | None) -> dict[str, RecentSpeed]:
    """By precision, what the latest finished runs of a model say, on backends that quantize. A cascade's
    figures are of several models, and left out; so are the labs' runs, the speeds of those that were disturbed or
    shared their passes, and the weights of those in which other models may have drafted.

    Args:
        session: to read with.
        model: its name.
        limit: how many runs are looked at, all precisions together.
        host: where they ran; ``None`` for anywhere.
    """
    tokens_read = Run.prompt_tokens - Run.cached_tokens
    # an absent report is kept as JSON's null, and as SQL's in runs older than the gear
    cascade, speculation = (
        func.coalesce(type_coerce(report, Text), "null") for report in (RunContent.cascade, RunContent.speculation)
    )
    rows = session.execute(
        select(
            Run.precision,
            Run.tpot_s,
            Run.weights_bytes,
            (speculation == "null").label("alone"),
            Run.disturbed,
            Run.mean_batch_size,
            Run.prefill_s,
            tokens_read.label("tokens_read"),
            Run.load_s,
        )
        .join(RunContent, RunContent.run_id == Run.id)
        .where(
            cascade == "null",
            Run.model == model,
            Run.backend.in_(backends_with(GearKind.QUANTIZATION)),
            Run.status == RunStatus.FINISHED,
            *conditions(RunFilter(sources=WITHOUT_LABS)),
            *(() if host is None else (Run.owner_host == host,)),
        )
        .order_by(Run.created_at.desc())
        .limit(limit)
    )
    by_precision: dict[str, list[Any]] = {}
    for row in rows:
        if row.tpot_s is not None and row.weights_bytes is not None:
            by_precision.setdefault(row.precision, []).append(row)
    found = {}
    for precision, runs in by_precision.items():
        quiet = [run for run in runs if not run.disturbed and not is_shared(run.mean_batch_size)]
        read = [run.prefill_s / run.tokens_read for run in quiet if run.prefill_s and (run.tokens_read or 0) > 0]
        loads = [run.load_s for run in quiet if (run.load_s or 0.0) >= _LOADED_FROM_S]
        found[precision] = RecentSpeed(
            runs=len(quiet),
            tpot_s=median(run.tpot_s for run in quiet) if quiet else None,
            weights_bytes=next((run.weights_bytes for run in runs if run.alone), None),
            read_s=median(read) if read else None,
            load_s=median(loads) if loads else None,
        )
    return found


def configurations(session: Session, filter: RunFilter, limit: int) -> tuple[Configuration, ...]:
    """The most used configurations, the most used first."""
    runs = chosen_runs(filter, Run.config_hash, Run.model, Run.backend, Run.precision)
    used = session.execute(
        select(*runs.c).group_by(*runs.c).order_by(func.count().desc(), runs.c.config_hash).limit(limit)
    ).all()
    return tuple(Configuration(**row._mapping, gears=_gears(session, row.config_hash)) for row in used)


def count_configurations(session: Session, filter: RunFilter) -> int:
    """How many configurations the runs have."""
    return session.scalar(select(func.count(Run.config_hash.distinct())).where(*conditions(filter))) or 0


def configuration(session: Session, identity: Identity) -> Configuration:
    """The configuration of runs that were summed up; without its gears where none of them is kept."""
    return Configuration(
        config_hash=identity.config_hash,
        model=identity.model,
        backend=identity.backend,
        precision=identity.precision,
        gears=_gears(session, identity.config_hash),
    )


def _gears(session: Session, config_hash: str) -> OptimizationConfig:
    """Of a configuration, as one of its runs has them; none of them on where no run is kept."""
    of_one = select(RunContent.config).join(Run, Run.id == RunContent.run_id).where(Run.config_hash == config_hash)
    config = session.scalars(of_one.limit(1)).first()
    return OptimizationConfig() if config is None else gears_of(config)


def _totals(session: Session, filter: RunFilter, key: SQLColumnExpression[Any]) -> dict[Any, Totals]:
    runs = _runs(filter, key)
    by_status = [func.count().filter(runs.c.status == status).label(status.value) for status in RunStatus]
    sums = [
        func.coalesce(func.sum(runs.c[name]), 0).label(name)
        for name in (
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "drafted_tokens",
            "accepted_tokens",
            "discarded_tokens",
        )
    ]
    peaks = [func.max(runs.c[name]).label(name) for name in ("weights_bytes", "kv_bytes", "peak_rss_bytes")]
    rows = session.execute(
        select(
            runs.c.key,
            func.count().label("runs"),
            *by_status,
            func.count().filter(*_is_disturbed(runs)).label("disturbed"),
            *sums,
            func.coalesce(func.sum(runs.c.prompt_tokens).filter(runs.c.cached_tokens.is_(None)), 0).label(
                "untold_prompt_tokens"
            ),
            *peaks,
        ).group_by(runs.c.key)
    )
    return {row.key: _to_totals(row) for row in rows}


def _to_totals(row: Row[Any]) -> Totals:
    figures: dict[str, Any] = {
        # PostgreSQL sums big integers into a Decimal.
        name: value if value is None else int(value)
        for name, value in row._mapping.items()
        if name != "key"
    }
    return Totals(**figures)


def _is_disturbed(runs: FromClause) -> tuple[ColumnElement[bool], ...]:
    """Which of the runs would be left out of percentiles."""
    return runs.c.status == RunStatus.FINISHED, runs.c.disturbed.is_(True)


def _latencies(
    session: Session, filter: RunFilter, key: SQLColumnExpression[Any], with_disturbed: bool
) -> dict[Any, Latency]:
    left_out: dict[Any, int] = {}
    wanted: list[ColumnElement[bool]] = [Run.status == RunStatus.FINISHED]
    if not with_disturbed and filter.disturbed is None:
        runs = _runs(filter, key)
        counted = select(runs.c.key, func.count().label("runs")).where(*_is_disturbed(runs)).group_by(runs.c.key)
        left_out = {row.key: row.runs for row in session.execute(counted)}
        wanted.append(Run.disturbed.is_not(True))
    finished = _runs(filter, key, *wanted)
    ttft, tpot, e2e, queue = (
        _percentiles(session, finished, name) for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s")
    )
    none = Percentiles()
    return {
        group: Latency(
            ttft_s=ttft.get(group, none),
            tpot_s=tpot.get(group, none),
            e2e_s=e2e.get(group, none),
            queue_s=queue.get(group, none),
            left_out=left_out.get(group, 0),
        )
        for group in e2e.keys() | left_out.keys()
    }


def _percentiles(session: Session, runs: FromClause, name: str) -> dict[Any, Percentiles]:
    """Nearest rank: the least value that is not below its share of all values."""
    value = runs.c[name]
    ranked = (
        select(
            runs.c.key,
            value.label("value"),
            func.cume_dist().over(partition_by=runs.c.key, order_by=value).label("share"),
        )
        .where(value.is_not(None))
        .subquery()
    )
    least = {
        column: func.min(case((ranked.c.share >= share, ranked.c.value)))
        for column, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    }
    rows = session.execute(
        select(ranked.c.key, *(figure.label(column) for column, figure in least.items())).group_by(ranked.c.key)
    )
    return {row.key: Percentiles(p50=row.p50, p90=row.p90, p99=row.p99) for row in rows}


def _runs(filter: RunFilter, key: SQLColumnExpression[Any], *also: ColumnElement[bool]) -> FromClause:
    """The runs to aggregate, each with the key of its group.

    A subquery, because PostgreSQL takes one expression with parameters, written in SELECT and again in
    GROUP BY, for two.
    """
    columns = (
        Run.status,
        Run.ttft_s,
        Run.tpot_s,
        Run.e2e_s,
        Run.queue_s,
        Run.prompt_tokens,
        Run.cached_tokens,
        Run.completion_tokens,
        Run.drafted_tokens,
        Run.accepted_tokens,
        Run.discarded_tokens,
        Run.disturbed,
        Run.weights_bytes,
        Run.kv_bytes,
        Run.peak_rss_bytes,
    )
    return chosen_runs(filter, key.label("key"), *columns, also=also)


def chosen_runs(filter: RunFilter, *columns: Any, also: Sequence[ColumnElement[bool]] = ()) -> FromClause:
    """Columns of the runs that the filter lets through. Where it has a beginning they are set aside first: SQLite would
    otherwise go through all runs that there are in the order of the groups' index."""
    chosen = select(*columns).where(*conditions(filter), *also)
    return chosen.subquery() if filter.since is None else chosen.cte().prefix_with("MATERIALIZED")
