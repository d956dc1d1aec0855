"""What a session reckons with on the Costs page: the traffic, an API's list price, what machines of one's own cost."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app.session.options import ChosenOption

SPEED = ChosenOption("costs-speed")
"""Which of the configurations measured here."""
MACHINE = "costs-machine"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is entered, and what it may be."""

    key: str
    """The widget's."""
    first: float
    least: float = 0.0
    most: float = 1e9
    whole: bool = False

    @property
    def value(self) -> float:
        """What it is set to; 0 for a box that was emptied."""
        return float(st.session_state.get(self.key, self.first) or 0.0)

    def prepare(self, first: float | None = None) -> None:
        """Give it a first value; one already there stays."""
        value = self.first if first is None else first
        st.session_state.setdefault(self.key, int(value) if self.whole else float(value))


TRAFFIC = Figure("costs-requests-per-day", 10_000, whole=True)
PEAK_PERCENT = Figure("costs-peak-percent", 10, least=4.2, most=100)
"""Of a day's requests that come in its busiest hour."""
TARGET_S = Figure("costs-target-s", 10, least=0.01)
API_INPUT = Figure("costs-api-input", 0.10)
"""An API's price of a million tokens."""
API_OUTPUT = Figure("costs-api-output", 0.40)
PER_HOUR = Figure("costs-per-hour", 0.10)
HOURS_A_DAY = Figure("costs-hours-a-day", 24, most=24)
IDLE_WATTS = Figure("costs-idle-watts", 0)
BUSY_WATTS = Figure("costs-busy-watts", 0)
PER_KWH = Figure("costs-per-kwh", 0.25)
UPKEEP_HOURS = Figure("costs-upkeep-hours", 2)
WAGE = Figure("costs-wage", 60)
UPGRADES = Figure("costs-upgrades", 0)
FIGURES = (
    TRAFFIC, PEAK_PERCENT, TARGET_S, API_INPUT, API_OUTPUT, PER_HOUR, HOURS_A_DAY, IDLE_WATTS, BUSY_WATTS, PER_KWH,
    UPKEEP_HOURS, WAGE, UPGRADES,
)  # fmt: skip


def prepare(*, per_hour: float, target_s: float) -> None:
    """Give all figures their first values; values already there stay."""
    PER_HOUR.prepare(per_hour)
    TARGET_S.prepare(target_s)
    for figure in FIGURES:
        figure.prepare()


def set_per_hour(price: float) -> None:
    """Let a machine cost so much."""
    st.session_state[PER_HOUR.key] = price
