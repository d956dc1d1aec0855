"""How states and figures of golden prompts are written."""

from __future__ import annotations

from typing import Literal, NamedTuple

from app.operations.sentinel.comparing import Drift
from app.operations.sentinel.standing import State
from app.store import Deviation, RoundCause

Colour = Literal["red", "orange", "violet", "gray", "green"]


class Mark(NamedTuple):
    """How a state is marked."""

    label: str
    icon: str
    colour: Colour


MARKS = {
    State.FAILED: Mark("No answer", ":material/error:", "red"),
    State.FLIPPED: Mark("Flipped", ":material/swap_horiz:", "red"),
    State.DRIFTED: Mark("Drifted", ":material/trending_down:", "orange"),
    State.KNOWN: Mark("Known", ":material/bookmark:", "violet"),
    State.NEW: Mark("Not replayed yet", ":material/schedule:", "gray"),
    State.SAME: Mark("As accepted", ":material/check:", "green"),
}
CAUSES = {
    RoundCause.SCHEDULE: "On schedule",
    RoundCause.CHANGE: "After a change",
    RoundCause.DEMAND: "On demand",
}


FINDINGS = {
    Deviation.FAILED: "no answer",
    Deviation.SCORE: "other score",
    Deviation.TOKENS: "other tokens",
    Deviation.KLD: "higher KLD",
    Deviation.SLOWER: "slower",
    Deviation.FASTER: "faster",
}


def drift_words(drift: Drift | None) -> str | None:
    """A ratio with its interval."""
    return None if drift is None else f"× {drift.ratio:.2f} ({drift.low:.2f} to {drift.high:.2f})"
