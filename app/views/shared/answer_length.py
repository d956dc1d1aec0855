"""How long an answer may get, as the labs ask for it."""

from __future__ import annotations

import streamlit as st


def choose_max_tokens(key: str, *, least: int = 1) -> None:
    """A number under ``key``; the session's state holds it."""
    st.number_input(
        "Max tokens",
        min_value=least,
        max_value=2_048,
        step=16,
        key=key,
        width=160,
        help="The answer is greedy, and ends here at the latest.",
        persist_state="session",
    )
