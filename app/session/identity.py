"""Who a browser session is."""

from __future__ import annotations

import uuid
from typing import cast

import streamlit as st

SESSION_ID = "session-id"


def person_id() -> str:
    """This browser session's id, as it is stored with its runs; its prefix cache is its own by this id."""
    return cast(str, st.session_state.setdefault(SESSION_ID, uuid.uuid4().hex))
