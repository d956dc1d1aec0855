"""The mark of a run that others disturbed, wherever its speed is shown, and what was measured of them."""

from __future__ import annotations

import streamlit as st

from app import units
from app.literal import literal
from engine.types import Disturbance

ICON = ":material/vibration:"
WORD = "Disturbed"


def show_disturbed(disturbance: Disturbance | None, *, of: str = "") -> None:
    """The mark, if the run was disturbed, with why on hover; ``of`` says which run is meant."""
    if disturbance and disturbance.is_disturbed:
        show_mark(disturbance.why, of=of)


def show_mark(why: str | None, *, of: str = "") -> None:
    """The mark of figures that were disturbed, if ``why`` says so."""
    if why:
        label = f"{literal(of)}: {WORD.lower()}" if of else WORD
        help = f"{literal(why)} Its speed is not to be relied on, and medians leave it out."
        st.badge(label, icon=ICON, color="orange", help=help)


def disturbed_mark(disturbance: Disturbance | None) -> str | None:
    """What a cell of a table says: why, or nothing."""
    return disturbance.why if disturbance and disturbance.is_disturbed else None


def interference(disturbance: Disturbance) -> dict[str, str]:
    """All that was measured, by name; what this machine does not tell is left out."""
    cores = disturbance.cores * disturbance.seconds or 1.0
    shares: tuple[tuple[str, float | None], ...] = (
        ("The engine waited for a core", disturbance.wait_share),
        ("Other programs, of all cores", _over(disturbance.programs_s, cores)),
        ("Other threads of Gearbox, of all cores", _over(disturbance.threads_s, cores)),
        ("Taken by the host, of all cores", _over(disturbance.stolen_s, cores)),
        ("Slowed down by heat", _over(disturbance.heat_s, disturbance.seconds)),
        ("Clock at the end, of that at the begin", disturbance.clock_change),
    )
    told = {name: units.percent(share, 1) for name, share in shares if share is not None}
    if disturbance.throttled_s is not None:
        told["Stopped by the control group's limit"] = units.seconds(disturbance.throttled_s)
    return {
        **told,
        "Cores": units.count(disturbance.cores),
        "Threads of the engine": units.count(disturbance.threads),
        "Other sequences in its passes": units.count(disturbance.sharing),
    }


def _over(seconds: float | None, whole_s: float) -> float | None:
    return None if seconds is None or not whole_s else seconds / whole_s
