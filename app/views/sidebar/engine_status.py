"""What the engine is doing now, for the sidebar."""

from __future__ import annotations

import streamlit as st

from app import resources, units
from app.literal import literal
from app.views.runs.naming import configuration_name
from app.views.shared.errors import errors_shown


@st.fragment(run_every="5s")
def show_engine_status() -> None:
    """Whether the engine is busy, who waits, and which weights are in memory; kept up to date."""
    with errors_shown():
        status = resources.get_engine().status()
        # a race that has just been started may not have come to the engine yet
        if status.running or resources.get_races().any_runs:
            waiting = f", {status.queued} waiting" if status.queued else ""
            st.caption(f":material/bolt: Engine busy{waiting}")
        else:
            st.caption(":material/bedtime: Engine idle")
        for model in status.resident:
            name = configuration_name(model.model, model.backend, model.precision)
            st.caption(
                f":material/memory: {literal(name)}, {units.memory(model.weights_bytes)}",
                help="Weights held in memory.",
            )
