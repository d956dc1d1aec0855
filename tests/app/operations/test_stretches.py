from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.operations.stretches import MOST, cut, on_the_clock, shown_twice

ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns")
MOMENTS = st.datetimes(datetime(2001, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@given(MOMENTS, st.timedeltas(timedelta(minutes=1), timedelta(days=9_000)), st.sampled_from(ZONES))
def test_stretches_follow_one_another_from_beginning_to_end(since: datetime, span: timedelta, zone: str) -> None:
    edges = cut(since, since + span, ZoneInfo(zone))
    assert edges[0] == since
    assert edges[-1] == since + span
    assert list(edges) == sorted(set(edges))
    assert len(edges) <= 1.2 * MOST + 3
    if span > timedelta(hours=3):
        assert all(edge.timestamp() % 900 == 0 for edge in edges[1:-1]), "sums are of quarters of an hour"


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-10-26", 24)])
def test_a_day_is_as_long_as_it_is_there(day: str, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=zone)
    edges = cut(noon - timedelta(days=60), noon + timedelta(days=60), zone)
    begin, end = next(pair for pair in pairwise(edges) if pair[0] <= noon < pair[1])
    assert end - begin == timedelta(hours=hours)
    assert begin.astimezone(zone).hour == 0


def test_days_begin_where_the_readers_clock_says_with_half_and_quarter_hours() -> None:
    since = datetime(2026, 5, 1, 3, 7, tzinfo=UTC)
    edges = cut(since, since + timedelta(days=100), ZoneInfo("Asia/Kathmandu"))
    assert {(edge.hour, edge.minute) for edge in edges[1:-1]} == {(18, 15)}


def test_a_year_is_cut_into_weeks_and_many_into_months() -> None:
    since = datetime(2026, 1, 14, tzinfo=UTC)
    assert {edge.weekday() for edge in cut(since, since + timedelta(days=365), UTC)[1:-1]} == {0}
    assert {edge.day for edge in cut(since, since + timedelta(days=2_000), UTC)[1:-1]} == {1}


@given(MOMENTS, st.timedeltas(timedelta(minutes=1), timedelta(days=40)), st.sampled_from(ZONES))
def test_no_two_stretches_are_drawn_at_the_same_place(since: datetime, span: timedelta, zone: str) -> None:
    shown = on_the_clock(cut(since, since + span, ZoneInfo(zone)), ZoneInfo(zone))
    assert shown == sorted(set(shown))


def test_an_hour_that_a_clock_shows_twice_has_the_room_of_one() -> None:
    zone = ZoneInfo("Europe/Berlin")
    hours = [datetime(2026, 10, 24, 23, tzinfo=UTC) + number * timedelta(hours=1) for number in range(4)]
    assert [each.strftime("%H:%M") for each in on_the_clock(hours, zone)] == ["01:00", "02:00", "02:30", "03:00"]
    assert shown_twice(hours, zone) == [False, False, True, False]
