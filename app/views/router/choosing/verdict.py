"""The Router lab's verdict as a box."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from app.router.choosing.verdict import Verdict


def show_verdict(found: Verdict) -> None:
    """Green only where a promise is shown."""
    text = f"**{literal(found.title)}**\n\n" + "\n\n".join(map(literal, found.because))
    match found.outcome:
        case "shown":
            st.success(text, icon=":material/verified:")
        case "not shown":
            st.info(text, icon=":material/hourglass_empty:")
        case _:
            st.warning(text, icon=":material/block:")
