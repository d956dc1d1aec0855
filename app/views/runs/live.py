"""A run streamed into the page: the one place where a page reads events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress

from app import resources
from app.runs.race import LaneRun, Race
from app.runs.service import RunCreated, RunNotSaved, RunSaved, RunWaits, stream
from app.session.identity import person_id
from app.store import RunNotFoundError, RunStatus, Timeline
from engine.errors import GearboxError
from engine.types import Heartbeat, Queued, RunFailed, RunFinished

_DRAW_EVERY_S = 0.25
"""Each drawing takes about two tokens' time from the engine where the browser runs on the same processors."""
_LETTING_GO_S = 5.0
_DRAWN_AT_ONCE = (RunCreated, Queued, Heartbeat, RunFinished, RunFailed, RunSaved, RunWaits, RunNotSaved)


def run_race(race: Race, draw: Mapping[str, Callable[[LaneRun], None]]) -> None:
    """Run the lanes in turn, each drawn by the function of its name. A lane that fails does not hold up the next."""
    race.claimed = True
    try:
        for name, lane in race.schedule:
            follow(lane, draw[name], group_id=race.group_id)
    finally:
        race.let_go()


def settle(race: Race) -> None:
    """Wait until an interrupted race has let go of the engine, and learn how its runs were kept.

    Raises:
        StoreError: the run database cannot be read.
    """
    race.over.wait(_LETTING_GO_S)
    for _, lane in race.schedule:
        if lane.run_id and lane.status is RunStatus.STOPPED and lane.metrics is None:
            with suppress(RunNotFoundError):
                store = resources.get_store()
                lane.adopt(store.get(lane.run_id), store.timeline(lane.run_id) or Timeline())


def follow(lane: LaneRun, draw: Callable[[LaneRun], None], *, group_id: str | None = None) -> None:
    """Run a lane to its end, drawing it as it grows.

    ``draw`` must put something on the page each time: that is where Streamlit stops a script whose page was
    left. The run is then kept as stopped, and the engine is free. Errors meant for the user end in the lane.
    """
    draw_due = 0.0
    try:
        with closing(
            stream(
                resources.get_engine(),
                resources.get_store(),
                lane.request,
                person_id=person_id(),
                group_id=group_id,
            )
        ) as events:
            for event in events:
                lane.take(event)
                if isinstance(event, _DRAWN_AT_ONCE) or time.monotonic() >= draw_due:
                    draw(lane)
                    draw_due = time.monotonic() + _DRAW_EVERY_S
    except GearboxError as error:
        lane.fail(str(error))
        draw(lane)
    finally:
        lane.stop()
