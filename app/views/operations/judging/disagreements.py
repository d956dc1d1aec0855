"""Where two judges, or a judge and a thumb, part."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import units
from app.experiments.judging.opinions import judge_words
from app.store import Disagreement
from app.views.runs.naming import run_url
from app.views.shared.clock import reader_zone


def show_disagreements(found: Sequence[Disagreement]) -> None:
    """A table, the furthest apart first, each with the way to its run."""
    st.subheader("Where opinions part", anchor=False)
    if not found:
        st.caption("No two judges, and no judge and thumb, part on any of these runs.")
        return
    column = st.column_config
    st.dataframe(
        {
            "run": [run_url(each.run_id) for each in found],
            "prompt": [" ".join(each.prompt.split()) for each in found],
            "tier": [each.tier for each in found],
            "judge": [judge_words(each.judge) for each in found],
            "score": [each.score for each in found],
            "reason": [each.reason for each in found],
            "other": [judge_words(each.other) if each.other else "A person's thumb" for each in found],
            "other_score": [each.other_score for each in found],
            "other_reason": [each.other_reason for each in found],
            "when": [each.created_at for each in found],
        },
        column_config={
            "run": column.LinkColumn("", display_text="Open", width="small"),
            "prompt": column.TextColumn("Prompt", width="medium"),
            "tier": column.TextColumn("Answered by"),
            "judge": column.TextColumn("Judge"),
            "score": column.NumberColumn("Score", format="%.1f", help="0 to 1."),
            "reason": column.TextColumn("Its reason", width="medium"),
            "other": column.TextColumn("Other opinion"),
            "other_score": column.NumberColumn("Score", format="%.1f", help="0 to 1; a thumb up is 1, down is 0."),
            "other_reason": column.TextColumn("Its reason or note", width="medium"),
            "when": column.DatetimeColumn("Started", format="YYYY-MM-DD HH:mm", timezone=str(reader_zone())),
        },
        hide_index=True,
        placeholder=units.MISSING,
        alt="Where opinions part",
    )
