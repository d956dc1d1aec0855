"""Which stretch of time is meant by what is picked in a chart of Operations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from app.operations.stretches import on_the_clock
from app.views.operations.charts import picked_stretch

EDGES = [datetime(2026, 10, 24, 23, tzinfo=UTC) + number * timedelta(hours=1) for number in range(5)]
SHOWN = on_the_clock(EDGES[:-1], ZoneInfo("Europe/Berlin"))


def test_a_click_means_its_stretch_also_where_the_clock_shows_an_hour_twice() -> None:
    for number in range(4):
        point = {"point_index": number, "x": SHOWN[number].isoformat(" ")}
        assert picked_stretch({"points": [point]}, EDGES, SHOWN) == (EDGES[number], EDGES[number + 1])


def test_a_box_means_all_that_it_touches() -> None:
    box = {"x": ["2026-10-25 02:40:00.12", "2026-10-25 03:10"]}
    assert picked_stretch({"points": [], "box": [box]}, EDGES, SHOWN) == (EDGES[2], EDGES[4])
    assert picked_stretch({"box": [{"x": ["2026-10-24", "2026-10-25 01:30"]}]}, EDGES, SHOWN) == (EDGES[0], EDGES[1])
    assert picked_stretch({"points": [], "box": []}, EDGES, SHOWN) is None
