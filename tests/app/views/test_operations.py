"""The Operations charts span the time that was asked for, with and without runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.store import Latency, TimeBucket, Totals
from app.views.operations.charts import whole_stretch

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOTHING = Totals(
    runs=0, finished=0, stopped=0, failed=0, interrupted=0, running=0, prompt_tokens=0, cached_tokens=0,
    completion_tokens=0, drafted_tokens=0, accepted_tokens=0, discarded_tokens=0, disturbed=0, weights_bytes=None,
    kv_bytes=None, peak_rss_bytes=None,
)  # fmt: skip


def bucket(hour: int) -> TimeBucket:
    return TimeBucket(start=NOON.replace(hour=hour), totals=NOTHING, latency=Latency())


def test_times_without_runs_are_there_and_empty() -> None:
    stretch = whole_stretch([bucket(9), bucket(11)], HOUR, NOON - 4 * HOUR + timedelta(minutes=20), NOON)
    assert [start.hour for start in stretch] == [8, 9, 10, 11, 12]
    assert [found is not None for found in stretch.values()] == [False, True, False, True, False]


def test_all_time_begins_with_the_first_run() -> None:
    stretch = whole_stretch([bucket(10)], HOUR, None, NOON + timedelta(minutes=59))
    assert [start.hour for start in stretch] == [10, 11, 12]
