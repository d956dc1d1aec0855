"""Times of day as the reader reads them, and the stretch of time a page looks at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st


class TimeRange(StrEnum):
    """How far back a page looks. The values stand in URLs."""

    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"
    ALL = "all"

    @property
    def label(self) -> str:
        """For the reader: "Last 24 hours"."""
        return _LABELS[self]

    @property
    def bucket(self) -> timedelta:
        """The width of one point on a chart over this range."""
        return _BUCKETS[self]

    def since(self, now: datetime) -> datetime | None:
        """The moment at which the range begins; ``None`` has no beginning."""
        span = _SPANS[self]
        return now - span if span else None


_LABELS = {
    TimeRange.HOUR: "Last hour",
    TimeRange.DAY: "Last 24 hours",
    TimeRange.WEEK: "Last 7 days",
    TimeRange.MONTH: "Last 30 days",
    TimeRange.ALL: "All time",
}
_SPANS = {
    TimeRange.HOUR: timedelta(hours=1),
    TimeRange.DAY: timedelta(days=1),
    TimeRange.WEEK: timedelta(days=7),
    TimeRange.MONTH: timedelta(days=30),
    TimeRange.ALL: None,
}
_BUCKETS = {
    TimeRange.HOUR: timedelta(minutes=2),
    TimeRange.DAY: timedelta(hours=1),
    TimeRange.WEEK: timedelta(hours=6),
    TimeRange.MONTH: timedelta(days=1),
    TimeRange.ALL: timedelta(days=1),
}


def now() -> datetime:
    """This moment, as the store counts time."""
    return datetime.now(UTC)


def reader_zone() -> tzinfo:
    """The time zone of the reader's browser, or UTC where it names none that is known here."""
    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
