"""Counts of the runs that keep a promise, and sums for what alerts watch, made by the database.

Few runs are counted from their rows; of many, what was summed up of them tells, to 1 % of a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, ColumnElement, SQLColumnExpression, Text, and_, case, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from app.store.database.columns import from_microseconds, to_microseconds
from app.store.judging.schema import LiveJudgementRow
from app.store.objectives.records import Counted, Metric, Moments, Objective, PrecisionUse, Stretch, Tally
from app.store.router.schema import RouterJudgement
from app.store.runs.queries import conditions
from app.store.runs.records import RunFilter, RunStatus
from app.store.runs.rollups.buckets import WIDTH
from app.store.runs.rollups.histogram import bins_of
from app.store.runs.rollups.parts import COUNTS, TIMES
from app.store.runs.rollups.reading import MOST_UNSUMMED, Read, summed
from app.store.runs.rollups.sums import Sums
from app.store.runs.schema import Run, RunContent

REPEATS_FROM = 0.5
"""Repeated share above which an answer goes in circles, as `app.runs.repetition` has it."""
REPEATS_TOKENS = 32
"""Shorter answers say too little."""
_RIGHT = 0.5
"""The score from which on a live judge finds an answer right."""
_BROKEN = (RunStatus.FAILED, RunStatus.INTERRUPTED)
_COLUMNS = {Metric.TTFT: Run.ttft_s, Metric.TPOT: Run.tpot_s, Metric.E2E: Run.e2e_s}


def count(session: Session, metric: Metric, limit_s: float | None, filter: RunFilter) -> Counted:
    """Runs that break a promise, of those of which one can tell.

    Args:
        session: to read with.
        metric: of what. A latency's are the finished runs that have it; the errors' those that finished or broke; the
            quality's those with a thumb, or else with a judge's verdict.
        limit_s: of a latency, in seconds.
        filter: which runs.
    """
    if metric is not Metric.QUALITY and filter.since and filter.until:
        found = summed(session, filter, [filter.since, filter.until], most=MOST_UNSUMMED)
        if found is not None:
            (counted,) = _of_sums(metric, limit_s, found, 1)
            for part in _not_summed(found, filter):
                counted += _count_rows(session, metric, limit_s, part)
            return counted
    return _count_rows(session, metric, limit_s, filter)


def _count_rows(session: Session, metric: Metric, limit_s: float | None, filter: RunFilter) -> Counted:
    bad, total = _bad_of(metric, limit_s)
    row = session.execute(_counting(metric, filter, bad, total)).one()
    return Counted(int(row.bad or 0), int(row.total or 0))


def _not_summed(found: Read, filter: RunFilter) -> list[RunFilter]:
    """The runs that sums lack, for the database to count: sooner done than summing them up."""
    ranges = found.missing.ranges if found.missing else ()
    return [replace(filter, since=since, until=until) for since, until in ranges]


def count_over_time(
    session: Session, metric: Metric, limit_s: float | None, filter: RunFilter, width: timedelta
) -> tuple[Stretch, ...]:
    """The same per stretch of time, counted from 1970 UTC, the oldest first; stretches without runs are left out.

    Args:
        session: to read with.
        metric: as for `count`.
        limit_s: as for `count`.
        filter: as for `count`.
        width: of a stretch, whole quarters of an hour.
    """
    width_us = width // WIDTH * (WIDTH // timedelta(microseconds=1))
    if metric is not Metric.QUALITY and filter.since and filter.until:
        first, end = (to_microseconds(moment) for moment in (filter.since, filter.until))
        numbers = range(first // width_us, -(-end // width_us))
        inner = [from_microseconds(number * width_us) for number in numbers[1:]]
        found = summed(session, filter, [filter.since, *inner, filter.until], most=MOST_UNSUMMED)
        if found is not None:
            starts = [from_microseconds(number * width_us) for number in numbers]
            counts = dict(zip(starts, _of_sums(metric, limit_s, found, len(numbers)), strict=True))
            for part in _not_summed(found, filter):
                for stretch in _count_rows_over_time(session, metric, limit_s, part, width_us):
                    counts[stretch.start] += stretch.counted
            return tuple(Stretch(start, counted) for start, counted in counts.items() if counted.total)
    return _count_rows_over_time(session, metric, limit_s, filter, width_us)


def _count_rows_over_time(
    session: Session, metric: Metric, limit_s: float | None, filter: RunFilter, width_us: int
) -> tuple[Stretch, ...]:
    bad, total = _bad_of(metric, limit_s)
    key = (type_coerce(Run.created_at, BigInteger) // width_us).label("stretch")
    rows = session.execute(_counting(metric, filter, bad, total, key).group_by(key).order_by(key)).all()
    return _stretches(rows, width_us)


def count_good(session: Session, objectives: Collection[Objective], filter: RunFilter) -> Counted:
    """Requests that miss at least one of the objectives that they come under, of all that finished or broke.

    A request without a figure, as a TPOT of a single token, misses nothing by that.
    """
    row = session.execute(_counting_good(objectives, filter)).one()
    return Counted(int(row.bad or 0), int(row.total or 0))


def count_good_over_time(
    session: Session, objectives: Collection[Objective], filter: RunFilter, width: timedelta, origin: datetime
) -> tuple[Stretch, ...]:
    """The same per stretch of time, counted from an origin before the first run, the oldest first; stretches without
    runs are left out. From the rows: sums of each figure do not tell which requests met all."""
    width_us, origin_us = width // timedelta(microseconds=1), to_microseconds(origin)
    key = ((type_coerce(Run.created_at, BigInteger) - origin_us) // width_us).label("stretch")
    rows = session.execute(_counting_good(objectives, filter, key).group_by(key).order_by(key)).all()
    return _stretches(rows, width_us, origin_us)


def _counting_good(objectives: Collection[Objective], filter: RunFilter, *keys: ColumnElement[Any]) -> Any:
    missed: list[ColumnElement[bool]] = [Run.status.in_(_BROKEN)]
    for objective in objectives:
        asked = conditions(objective.scope.runs(None, None))
        match objective.metric:
            case Metric.ERRORS:
                continue
            case Metric.QUALITY:
                missed.append(and_(*asked, _is_wrong()))
            case metric:
                missed.append(and_(*asked, func.coalesce(_COLUMNS[metric], 0.0) > (objective.limit_s or 0.0)))
    counted = select(*keys, _number(or_(*missed)).label("bad"), func.count().label("total"))
    return counted.where(*conditions(filter), Run.status.in_((RunStatus.FINISHED, *_BROKEN)))


def tally(session: Session, filter: RunFilter) -> Tally:
    """What alerts watch of the runs that a filter lets through, in one pass over their rows."""
    finished, broken = Run.status == RunStatus.FINISHED, Run.status.in_(_BROKEN)
    read = and_(finished, Run.prompt_tokens > 0, Run.cached_tokens.is_not(None))
    drafted = and_(finished, Run.verification_steps > 0)
    asked_up = and_(finished, Run.large_alone_derived.is_not(None))
    long = and_(finished, Run.completion_tokens >= REPEATS_TOKENS, Run.repetition.is_not(None))
    row = session.execute(
        select(
            _number(broken).label("broken"),
            _number(or_(finished, broken)).label("over"),
            *_moments("cached", read, Run.cached_tokens, Run.prompt_tokens),
            *_moments("accepted", drafted, Run.accepted_tokens + Run.verification_steps, Run.verification_steps),
            _number(and_(asked_up, Run.large_alone_derived.is_(False))).label("went_up"),
            _number(asked_up).label("cascades"),
            _number(and_(long, Run.repetition > REPEATS_FROM)).label("repeating"),
            _number(long).label("long"),
            _number(and_(finished, Run.disturbed.is_(True))).label("disturbed"),
            _number(finished).label("finished"),
        ).where(*conditions(filter))
    ).one()

    def number(name: str) -> int:
        return int(getattr(row, name) or 0)

    def moments(name: str) -> Moments:
        return Moments(
            number(f"{name}_runs"),
            *(float(getattr(row, f"{name}_{part}") or 0) for part in ("x", "y", "xx", "yy", "xy")),
        )

    return Tally(
        errors=Counted(number("broken"), number("over")),
        cached=moments("cached"),
        accepted=moments("accepted"),
        went_up=Counted(number("went_up"), number("cascades")),
        repeating=Counted(number("repeating"), number("long")),
        disturbed=Counted(number("disturbed"), number("finished")),
    )


def stale(session: Session, filter: RunFilter) -> Counted:
    """Runs whose reused KV was computed anew and gave other logits, of those whose was computed anew."""
    report = type_coerce(RunContent.cache, Text)
    wrong, right = (report.contains(f'"verified":{word}', autoescape=True) for word in ("false", "true"))
    counted = select(_number(wrong).label("bad"), _number(or_(wrong, right)).label("total"))
    row = session.execute(
        counted.join(Run, Run.id == RunContent.run_id).where(*conditions(filter), Run.cached_tokens > 0)
    ).one()
    return Counted(int(row.bad or 0), int(row.total or 0))


def precisions(session: Session, filter: RunFilter) -> tuple[PrecisionUse, ...]:
    """What finished runs were answered with, the most used first."""
    kind = (Run.model, Run.backend, Run.precision)
    used = select(*kind, func.count().label("runs")).where(*conditions(filter), Run.status == RunStatus.FINISHED)
    rows = session.execute(used.group_by(*kind).order_by(func.count().desc(), *kind)).all()
    return tuple(PrecisionUse(row.model, row.backend, row.precision, int(row.runs)) for row in rows)


def _bad_of(metric: Metric, limit_s: float | None) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """In SQL: whether a run breaks the promise, and whether one can tell."""
    match metric:
        case Metric.ERRORS:
            broken = Run.status.in_(_BROKEN)
            return broken, or_(broken, Run.status == RunStatus.FINISHED)
        case Metric.QUALITY:
            return _is_wrong(), or_(Run.rating != 0, _judgement(True), _judgement(False))
        case _:
            told = and_(Run.status == RunStatus.FINISHED, _COLUMNS[metric].is_not(None))
            return and_(told, _COLUMNS[metric] > (limit_s or 0.0)), told


def _is_wrong() -> ColumnElement[bool]:
    """A thumb counts more than judges; of these one that finds the answer wrong."""
    return or_(Run.rating < 0, and_(Run.rating == 0, _judgement(False)))


def _judgement(right: bool) -> ColumnElement[bool]:
    of_a_router = select(RouterJudgement.run_id).where(
        RouterJudgement.run_id == Run.id, RouterJudgement.right.is_(right)
    )
    score = LiveJudgementRow.score
    live = select(LiveJudgementRow.id).where(
        LiveJudgementRow.run_id == Run.id, score >= _RIGHT if right else score < _RIGHT
    )
    return or_(of_a_router.exists(), live.exists())


def _counting(
    metric: Metric,
    filter: RunFilter,
    bad: ColumnElement[bool],
    total: ColumnElement[bool],
    *keys: ColumnElement[Any],
) -> Any:
    counted = select(*keys, _number(bad).label("bad"), _number(total).label("total")).where(*conditions(filter))
    return counted.where(Run.status == RunStatus.FINISHED) if metric is Metric.QUALITY else counted


def _stretches(rows: Sequence[Any], width_us: int, origin_us: int = 0) -> tuple[Stretch, ...]:
    starts = (from_microseconds(origin_us + int(row.stretch) * width_us) for row in rows)
    counted = (Counted(int(row.bad or 0), int(row.total or 0)) for row in rows)
    return tuple(map(Stretch, starts, counted))


def _number(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _moments(
    name: str, among: ColumnElement[bool], x: SQLColumnExpression[Any], y: SQLColumnExpression[Any]
) -> list[ColumnElement[Any]]:
    first, second = func.coalesce(x, 0), func.coalesce(y, 0)
    parts = {"x": first, "y": second, "xx": first * first, "yy": second * second, "xy": first * second}
    sums = [func.sum(case((among, value), else_=0)).label(f"{name}_{part}") for part, value in parts.items()]
    return [_number(among).label(f"{name}_runs"), *sums]


def _of_sums(metric: Metric, limit_s: float | None, found: Read, stretches: int) -> Sequence[Counted]:
    """Each stretch's."""
    sums = Sums.of(found.parts, found.parts.stretch, stretches)
    if metric is Metric.ERRORS:
        failed, interrupted, finished = (
            sums.counts[:, COUNTS.index(str(status))] for status in (*_BROKEN, RunStatus.FINISHED)
        )
        broken = failed + interrupted
        total = broken + finished
        return [Counted(int(bad), int(all)) for bad, all in zip(broken, total, strict=True)]
    place = TIMES.index(f"{metric}_s")
    counts = sums.times[:, place] + sums.times[:, place + len(TIMES)]
    last_good = int(bins_of(np.array([limit_s or 0.0]))[0])
    totals, good = counts.sum(axis=1), counts[:, : last_good + 1].sum(axis=1)
    return [Counted(int(all - kept), int(all)) for all, kept in zip(totals, good, strict=True)]
