"""How far objectives are kept: attainment, error budget, burn rate (Google, The Site Reliability Workbook, chapter 5),
and goodput, the requests a second that meet all of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import gcd
from typing import Literal

from app.store import WITHOUT_LABS, Counted, Objective, ObjectiveStore, RunFilter

BURN_WINDOWS = (timedelta(hours=1), timedelta(hours=6), timedelta(days=3))
"""That are shown."""
_POINTS = 60
_QUARTER = timedelta(minutes=15)
_DAY = timedelta(days=1)

Verdict = Literal["kept", "broken", "no runs"]


@dataclass(frozen=True, slots=True)
class Attainment:
    """An objective over its window."""

    objective: Objective
    counted: Counted
    burn: tuple[float | None, ...] = ()
    """The rates over `BURN_WINDOWS`; ``None`` without runs."""

    @property
    def share(self) -> float | None:
        """Of requests that met it; ``None`` without any."""
        bad = self.counted.share
        return None if bad is None else 1 - bad

    @property
    def budget_left(self) -> float | None:
        """Of the requests that may miss it, the share that still may; below 0 where more did."""
        rate = burn_rate(self.objective, self.counted)
        return None if rate is None else 1 - rate

    @property
    def verdict(self) -> Verdict:
        """Whether it is kept."""
        left = self.budget_left
        return "no runs" if left is None else "broken" if left < -1e-9 else "kept"


@dataclass(frozen=True, slots=True)
class Goodput:
    """Requests that meet every objective."""

    good: int
    requests: int
    """That finished or broke."""
    window: timedelta

    @property
    def per_second(self) -> float:
        """Good requests a second."""
        return self.good / self.window.total_seconds()

    @property
    def share(self) -> float | None:
        """Of the requests; ``None`` without any."""
        return self.good / self.requests if self.requests else None


def burn_rate(objective: Objective, counted: Counted) -> float | None:
    """The share of requests that miss it, over the share that may: at 1 the budget lasts just as long as the window.
    ``None`` without requests."""
    return None if counted.share is None else counted.share / (1 - objective.target)


def counted_over(store: ObjectiveStore, objective: Objective, length: timedelta, now: datetime) -> Counted:
    """Requests of a stretch of time that ends now, by an objective.

    Raises:
        StoreError: the run database cannot be read.
    """
    filter = objective.scope.runs(now - length, now)

    def read() -> Counted:
        return store.count(objective.metric, objective.limit_s, filter)

    return store.memo.get(("count", objective, length), now, read)


def attainment(store: ObjectiveStore, objective: Objective, now: datetime) -> Attainment:
    """How an objective stands.

    Raises:
        StoreError: the run database cannot be read.
    """
    rates = tuple(burn_rate(objective, counted_over(store, objective, length, now)) for length in BURN_WINDOWS)
    return Attainment(objective, counted_over(store, objective, objective.window, now), rates)


def goodput(store: ObjectiveStore, objectives: Sequence[Objective], window: timedelta, now: datetime) -> Goodput:
    """Of all requests but those of labs and experiments.

    Raises:
        StoreError: the run database cannot be read.
    """
    filter = RunFilter(sources=WITHOUT_LABS, since=now - window, until=now)

    def read() -> Counted:
        return store.count_good(objectives, filter)

    missed = store.memo.get(("goodput", tuple(objectives), window), now, read)
    return Goodput(missed.total - missed.bad, missed.total, window)


def goodput_over_time(
    store: ObjectiveStore, objectives: Sequence[Objective], filter: RunFilter, edges: Sequence[datetime], now: datetime
) -> tuple[Counted, ...]:
    """Requests of each stretch of time that miss an objective as it is today, of those that finished or broke. Of
    those before the last one, what was read lately is taken; the last is read anew.

    Args:
        store: the objectives' side of the run database.
        objectives: all that count.
        filter: which runs; its own beginning and end are not asked.
        edges: where one stretch begins and the other ends, ascending, at least two; those between the first and the
            last at whole seconds.
        now: which moment counts as now.

    Raises:
        StoreError: the run database cannot be read.
    """
    *before, last = edges
    parts = tuple(before[1:])
    width = timedelta(seconds=gcd(*((edge - parts[0]) // timedelta(seconds=1) for edge in parts[1:]))) or _DAY

    def read() -> tuple[Counted, ...]:
        found = [Counted(0, 0) for _ in parts]
        in_span = replace(filter, since=before[0], until=before[-1])
        origin = parts[0] - -(-(parts[0] - before[0]) // width) * width
        for each in store.count_good_over_time(objectives, in_span, width, origin):
            found[bisect_right(parts, each.start)] += each.counted
        return tuple(found)

    anyone = replace(filter, since=None, until=None)
    past = store.memo.get(("goodput over time", tuple(objectives), anyone, parts), now, read) if parts else ()
    return (*past, store.count_good(objectives, replace(filter, since=before[-1], until=last)))


def budget_over_time(
    store: ObjectiveStore, objective: Objective, now: datetime
) -> tuple[tuple[datetime, float | None], ...]:
    """What was left of the error budget at the end of each stretch of the window: requests so far that missed the
    objective, over those of the whole window that may.

    Returns:
        Moment and share left, in order; ``None`` before the first request.

    Raises:
        StoreError: the run database cannot be read.
    """
    width = max(_QUARTER, objective.window / _POINTS // _QUARTER * _QUARTER)
    since = now - objective.window

    def read() -> tuple[tuple[datetime, float | None], ...]:
        found = store.count_over_time(objective, since, now, width)
        allowed = sum(each.counted.total for each in found) * (1 - objective.target)
        bad, points = 0, []
        by_start = {each.start: each.counted for each in found}
        start, seen = _floor(since, width), False
        while start < now:
            counted = by_start.get(start)
            seen = seen or counted is not None
            bad += counted.bad if counted else 0
            points.append((min(start + width, now), 1 - bad / allowed if seen else None))
            start += width
        return tuple(points)

    return store.memo.get(("budget", objective), now, read)


def _floor(moment: datetime, width: timedelta) -> datetime:
    epoch = datetime.fromtimestamp(0, moment.tzinfo)
    return epoch + (moment - epoch) // width * width
