"""The replay as the data that the theatre plays, and as a single HTML file that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from app import units
from app.offline.page import DATA_ID, offline_page
from app.replay.recorded import ReplayError, ReplayLane

_HERE = Path(__file__).parent
BODY = (_HERE / "theatre.html").read_text(encoding="utf-8")
STYLE = (_HERE / "theatre.css").read_text(encoding="utf-8")
SCRIPT = (_HERE / "theatre.js").read_text(encoding="utf-8")
"""Defines ``theatre(root, data)``, which plays `replay_data` in an element that holds `BODY`."""
MOST_LANES = 4
_TICKS_PER_SECOND = 10_000
_START = f"""
theatre(document.querySelector(".theatre"), JSON.parse(document.getElementById("{DATA_ID}").textContent))
"""


def replay_page(lanes: Sequence[ReplayLane], *, title: str = "Gearbox replay") -> str:
    """A self-contained HTML page that streams one to four recorded answers again, on one clock.

    No answer is too long for it; four of 500 tokens take about 60 kB.

    Raises:
        ReplayError: there are no lanes, or too many.
    """
    body = f"<main>\n{BODY}\n</main>"
    return offline_page(title, body, style=STYLE, script=SCRIPT + _START, data=replay_data(lanes, title=title))


def replay_data(lanes: Sequence[ReplayLane], *, title: str) -> dict[str, Any]:
    """What the theatre plays, as JSON values; times between tokens are whole tenths of a millisecond.

    Raises:
        ReplayError: there are no lanes, or too many.
    """
    if not 1 <= len(lanes) <= MOST_LANES:
        raise ReplayError(f"A replay has one to {MOST_LANES} lanes, not {len(lanes)}.")
    prompts = {lane.prompt for lane in lanes}
    return {
        "title": title,
        "prompt": prompts.pop() if len(prompts) == 1 else None,
        "ticks_per_second": _TICKS_PER_SECOND,
        "lanes": [_lane(lane, own_prompt=len(prompts) > 0) for lane in lanes],
    }


def _lane(lane: ReplayLane, *, own_prompt: bool) -> dict[str, Any]:
    ticks = [0, *(round(at_s * _TICKS_PER_SECOND) for at_s in lane.at_s)]
    return {
        "name": lane.name,
        "recording": " · ".join(
            filter(None, (lane.model, lane.machine, units.moment(lane.recorded_at) + " UTC", lane.note))
        ),
        "prompt": lane.prompt if own_prompt else None,
        "pieces": lane.pieces,
        "steps": [after - before for before, after in pairwise(ticks)],
        "end_s": lane.e2e_s,
        "figures": [
            ["TTFT", units.seconds(lane.ttft_s), "Time to first token"],
            ["TPOT", units.seconds(lane.tpot_s), "Time per output token after the first"],
            ["E2E", units.seconds(lane.e2e_s), "From arrival to the last token"],
        ],
    }
