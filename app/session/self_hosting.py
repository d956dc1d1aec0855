"""What a session reckons with on the Costs page: the traffic, an API's list price, what machines of one's own cost."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.session.options import ChosenOption

SPEED = ChosenOption("costs-speed")
"""Which of the configurations measured here."""
MACHINE = "costs-machine"
TRAFFIC = "costs-requests-per-day"
PEAK_PERCENT = "costs-peak-percent"
TARGET_S = "costs-target-s"
API_INPUT = "costs-api-input"
API_OUTPUT = "costs-api-output"
PER_HOUR = "costs-per-hour"
HOURS_A_DAY = "costs-hours-a-day"
IDLE_WATTS = "costs-idle-watts"
BUSY_WATTS = "costs-busy-watts"
PER_KWH = "costs-per-kwh"
UPKEEP_HOURS = "costs-upkeep-hours"
WAGE = "costs-wage"
UPGRADES = "costs-upgrades"

_FIRST: Mapping[str, float] = {
    TRAFFIC: 10_000,
    PEAK_PERCENT: 10.0,
    API_INPUT: 0.10,
    API_OUTPUT: 0.40,
    HOURS_A_DAY: 24.0,
    IDLE_WATTS: 0.0,
    BUSY_WATTS: 0.0,
    PER_KWH: 0.25,
    UPKEEP_HOURS: 2.0,
    WAGE: 60.0,
    UPGRADES: 0.0,
}


def prepare(*, per_hour: float, target_s: float) -> None:
    """Give all figures their first values; values already there stay."""
    for key, value in {**_FIRST, PER_HOUR: per_hour, TARGET_S: target_s}.items():
        st.session_state.setdefault(key, value)


def figure(key: str) -> float:
    """What a figure is set to; 0 for a box that was emptied."""
    return float(st.session_state.get(key) or 0.0)


def set_per_hour(price: float) -> None:
    """Let a machine cost so much."""
    st.session_state[PER_HOUR] = price
