"""How far a race of several rounds has come."""

from __future__ import annotations

from statistics import fmean

from app.runs.live_run import Phase
from app.runs.race import Race


def round_on_view(race: Race) -> int:
    """The number, from 1, of the round that runs, or of the last one."""
    return next(number for number, lanes in enumerate(race.rounds, start=1) if lanes is race.lanes)


def left_s(race: Race) -> float | None:
    """Seconds until all rounds are over, if each run takes as long as its lane's earlier ones.

    ``None`` while a lane that is still to run has not answered yet.
    """
    left = 0.0
    for letter, run in race.schedule:
        if run.phase is Phase.OVER:
            continue
        earlier = [lanes[letter].metrics for lanes in race.rounds]
        times_s = [metrics.e2e_s for metrics in earlier if metrics]
        if not times_s:
            return None
        left += max(0.0, fmean(times_s) - run.elapsed_s)
    return left
