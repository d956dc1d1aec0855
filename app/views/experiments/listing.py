"""The experiments there are."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import units
from app.experiments.running.starting import EXPERIMENT
from app.session.experiments import EXPERIMENT_QUERY
from app.store import KeptExperiment
from app.views.experiments.standing import state_word
from app.views.runs.naming import EXPERIMENTS_PATH, page_url
from app.views.shared.clock import reader_zone


def show_list(experiments: Sequence[KeptExperiment]) -> None:
    """A table, the newest first, each with its link."""
    if not experiments:
        st.info(
            "No experiments yet. One answers a question such as “ship int4 instead of 16 bits?” on a set of prompts, "
            "with a verdict. Begin with the quick size below: a few minutes."
        )
        return
    column = st.column_config
    st.dataframe(
        {
            "open": [page_url(EXPERIMENTS_PATH, **{EXPERIMENT_QUERY: each.id}) for each in experiments],
            "name": [each.name for each in experiments],
            "question": [each.question for each in experiments],
            "state": [state_word(EXPERIMENT, each) for each in experiments],
            "prompts": [each.prompts for each in experiments],
            "configurations": [len(each.design["configurations"]) for each in experiments],
            "answers": [each.cells for each in experiments],
            "failed": [each.failed for each in experiments],
            "begun": [each.created_at for each in experiments],
        },
        column_config={
            "open": column.LinkColumn("", display_text="Open", width="small"),
            "name": column.TextColumn("Experiment"),
            "question": column.TextColumn("Question", width="medium"),
            "state": column.TextColumn("State"),
            "prompts": column.NumberColumn("Prompts", format="%d"),
            "configurations": column.NumberColumn("Configurations", format="%d"),
            "answers": column.NumberColumn("Answers", format="%d", help="Kept so far, of both passes."),
            "failed": column.NumberColumn("Failed", format="%d", help="Answers that a configuration could not give."),
            "begun": column.DatetimeColumn("Begun", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Experiments",
    )
