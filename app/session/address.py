"""Which page a session shows, as far as its address says it."""

from __future__ import annotations

import streamlit as st

_SHOWN, _ARRIVED = "address-page", "address-arrived"


def arrive(page: str) -> None:
    """Note that a page is about to be drawn."""
    st.session_state[_ARRIVED] = st.session_state.get(_SHOWN) != page
    st.session_state[_SHOWN] = page


def arrived() -> bool:
    """Whether the page is drawn for the first time since another one was shown."""
    return bool(st.session_state.get(_ARRIVED))
