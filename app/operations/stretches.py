"""A span of time cut where the reader's clock and calendar cut it: minutes, hours, days, weeks, months."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

MOST = 125
"""Stretches that a span is cut into at most."""
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_WITHIN_DAYS = (
    _MINUTE, 2 * _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR,
)  # fmt: skip
_MONTHS = (1, 3, 12, 120)


def cut(since: datetime, until: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """Where one stretch ends and the next begins, the span's own beginning and end included, in UTC.

    Stretches are as short as `MOST` of them allow. A day is as long as it is there, 23 or 25 hours too.

    Args:
        since: an aware moment.
        until: one after it.
        zone: the reader's.
    """
    span = until - since
    for step in _WITHIN_DAYS:
        if span <= MOST * step:
            return _between(since, until, _of_days(since, until, zone, step))
    for days in (1, 7):
        if span <= MOST * days * _DAY:
            return _between(since, until, _midnights(since, until, zone, days))
    months = next((each for each in _MONTHS if span <= MOST * each * 28 * _DAY), _MONTHS[-1])
    return _between(since, until, _firsts(since, until, zone, months))


def on_the_clock(moments: Sequence[datetime], zone: tzinfo) -> list[datetime]:
    """What a clock there shows at some moments, ascending, without a zone. Where it is put back, what it shows twice
    stands one after the other in the room of once, so that no two moments are at the same place.
    """
    shown = [moment.astimezone(zone).replace(tzinfo=None) for moment in moments]
    for place in range(1, len(shown)):
        if shown[place] > shown[place - 1]:
            continue
        last = shown[place - 1]
        first = bisect_left(shown, shown[place], 0, place)
        end = next((after for after in range(place, len(shown)) if shown[after] > last), len(shown))
        until = shown[end] if end < len(shown) else last + (moments[place] - moments[place - 1])
        each = (until - shown[first]) / (end - first)
        shown[first:end] = [shown[first] + number * each for number in range(end - first)]
    return shown


def shown_twice(moments: Sequence[datetime], zone: tzinfo) -> list[bool]:
    """Which moments a clock there shows that it showed an hour or so before, for it was put back."""
    return [bool(moment.astimezone(zone).fold) for moment in moments]


def _between(since: datetime, until: datetime, moments: Iterator[datetime]) -> tuple[datetime, ...]:
    inner = sorted({moment for moment in moments if since < moment < until})
    return (since.astimezone(UTC), *inner, until.astimezone(UTC))


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _of_days(since: datetime, until: datetime, zone: tzinfo, step: timedelta) -> Iterator[datetime]:
    """Steps counted from each midnight there."""
    day = since.astimezone(zone).date()
    while (midnight := _midnight(day, zone)) < until:
        day += _DAY
        end = _midnight(day, zone)
        moment = midnight + max(timedelta(), since.astimezone(UTC) - midnight) // step * step
        while moment < min(end, until):
            yield moment
            moment += step


def _midnights(since: datetime, until: datetime, zone: tzinfo, days: int) -> Iterator[datetime]:
    """Of every day, or of every Monday."""
    day = since.astimezone(zone).date()
    if days == 7:
        day -= timedelta(days=day.weekday())
    while (midnight := _midnight(day, zone)) < until:
        yield midnight
        day += timedelta(days=days)


def _firsts(since: datetime, until: datetime, zone: tzinfo, months: int) -> Iterator[datetime]:
    """The first midnight of every so many months of the calendar."""
    first = since.astimezone(zone).date()
    number = (first.year * 12 + first.month - 1) // months * months
    while (midnight := _midnight(date(number // 12, number % 12 + 1, 1), zone)) < until:
        yield midnight
        number += months
