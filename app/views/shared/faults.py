"""Figures that contradict each other, shown as what they are."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.literal import literal

ICON = ":material/report:"


def show_faults(faults: Sequence[str], *, of: str = "") -> bool:
    """Say what cannot be; ``of`` says of what. Whether there is anything of the kind."""
    if faults:
        title = f"Measurement fault{f' of {of}' if of else ''}: this is not a result"
        st.error(literal(" ".join(faults)), title=literal(title), icon=ICON)
    return bool(faults)
