"""What a session remembers of the Cache lab: the log to simulate, and its last simulation."""

from __future__ import annotations

from typing import cast

import streamlit as st

LOG = "cache-log"
"""The key of the pasted log's box."""
LOG_MODEL, LOG_BUDGET, LOG_AT_ONCE = "cache-log-model", "cache-log-budget", "cache-log-at-once"
"""The keys of what it is simulated with."""
MOST_BUDGET_MIB = 1_048_576
MOST_AT_ONCE = 10_000
SIMULATION = "cache-simulation"


def simulation() -> str | None:
    """The key of the simulation started last."""
    return cast("str | None", st.session_state.get(SIMULATION))


def set_simulation(key: str) -> None:
    """Remember it."""
    st.session_state[SIMULATION] = key
