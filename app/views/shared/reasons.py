"""Why an answer counts as right or wrong, as pages show it."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from engine import Task, explain_check


def show_reason(task: Task, text: str) -> None:
    """The checker's reason, in small print."""
    say_reason(_explained(task, text))


def say_reason(reason: str) -> None:
    """A clause as a sentence in small print."""
    st.caption(literal(f"{reason[:1].upper()}{reason[1:].rstrip('.')}."))


@st.cache_data(show_spinner=False, max_entries=500)
def _explained(task: Task, text: str) -> str:
    """The reason; where the answer is code it is run for it, and only once."""
    return explain_check(task, text)
