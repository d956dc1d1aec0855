"""What a session remembers of the Cache lab: the log to simulate, and its last simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import streamlit as st

from app.session.options import ChosenOption

LOG = "cache-log"
"""The key of the pasted log's box."""
LOG_MODEL = ChosenOption("cache-log-model")
LOG_BUDGET, LOG_AT_ONCE = "cache-log-budget", "cache-log-at-once"
"""The keys of what it is simulated with."""
MOST_BUDGET_MIB = 1_048_576
MOST_AT_ONCE = 10_000
SIMULATION = "cache-simulation"


def prepare_log(models: Sequence[str]) -> None:
    """Give what a log is simulated with its first values; values already there stay."""
    LOG_MODEL.prepare(models)
    st.session_state.setdefault(LOG_BUDGET, 2048)
    st.session_state.setdefault(LOG_AT_ONCE, 8)


def simulation() -> str | None:
    """The key of the simulation started last."""
    return cast("str | None", st.session_state.get(SIMULATION))


def set_simulation(key: str) -> None:
    """Remember it."""
    st.session_state[SIMULATION] = key
