"""What a session remembers of the Cache lab: its last simulation."""

from __future__ import annotations

from typing import cast

import streamlit as st

_SIMULATION = "cache-simulation"


def simulation() -> str | None:
    """The key of the simulation started last."""
    return cast("str | None", st.session_state.get(_SIMULATION))


def set_simulation(key: str) -> None:
    """Remember it."""
    st.session_state[_SIMULATION] = key
