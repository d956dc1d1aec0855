from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.views.shared.clock import TimeRange

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_range_begins_its_length_before_now() -> None:
    assert TimeRange.DAY.since(NOW) == NOW - timedelta(days=1)
    assert TimeRange.ALL.since(NOW) is None


@pytest.mark.parametrize("span", list(TimeRange))
def test_every_range_has_a_label_and_makes_a_chart_of_a_readable_number_of_points(span: TimeRange) -> None:
    assert span.label
    since = span.since(NOW)
    if since is not None:
        assert 20 <= (NOW - since) / span.bucket <= 60
