"""The autopilots there are."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import units
from app.experiments.autopilot.goal import Goal
from app.experiments.autopilot.running import AUTOPILOT as IN_BACKGROUND
from app.session.experiments import AUTOPILOT
from app.store import KeptAutopilot
from app.views.experiments.standing import state_word
from app.views.runs.naming import EXPERIMENTS_PATH, page_url
from app.views.shared.clock import reader_zone


def show_autopilots(autopilots: Sequence[KeptAutopilot]) -> None:
    """A table, the newest first, each with its link; nothing where there are none."""
    if not autopilots:
        return
    st.subheader("Autopilots", anchor=False)
    column = st.column_config
    st.dataframe(
        {
            "open": [page_url(EXPERIMENTS_PATH, **{AUTOPILOT.query: each.id}) for each in autopilots],
            "goal": [Goal.from_dict(each.plan["goal"]).text for each in autopilots],
            "prompts": [each.plan["prompts_from"] for each in autopilots],
            "state": [state_word(IN_BACKGROUND, each) for each in autopilots],
            "begun": [each.created_at for each in autopilots],
        },
        column_config={
            "open": column.LinkColumn("", display_text="Open", width="small"),
            "goal": column.TextColumn("Goal", width="large"),
            "prompts": column.TextColumn("Prompts"),
            "state": column.TextColumn("State"),
            "begun": column.DatetimeColumn("Begun", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Autopilots",
    )
