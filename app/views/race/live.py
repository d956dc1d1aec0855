"""A race drawn into the page while it runs elsewhere (`app.runs.races`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from app.runs.live_run import Phase
from app.runs.race import HEAD_START_S, LaneRun, Race

_DRAW_EVERY_S = 0.25
"""Each drawing takes about two tokens' time from the engine where the browser runs on the same processors."""
_SILENT_S = 1.0


def follow(race: Race, draw: Mapping[str, Callable[[LaneRun], None]]) -> None:
    """Draw the lanes of a race, each with the function of its name, until it is over. Only what has changed is drawn.

    ``draw`` must put something on the page each time: that is where Streamlit stops a script whose page was left or
    clicked at. The race goes on then; the next script run follows it again.
    """
    drawn: dict[str, tuple[LaneRun, int]] = {}
    drawn_at = time.monotonic()
    with race.watched():
        while True:
            over, news = race.over.is_set(), race.news
            for name, lane in race.lanes.items():
                now = (lane, lane.changes)
                long_silent = time.monotonic() - drawn_at >= _SILENT_S and lane.phase is not Phase.OVER
                if drawn.get(name) != now or long_silent:
                    draw[name](lane)
                    drawn[name], drawn_at = now, time.monotonic()
            if over:
                return
            race.wait_for_news(news, _DRAW_EVERY_S)
            race.wait_until_read(HEAD_START_S)
