"""Answers that changed between right and wrong, both texts side by side."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.decision import Decision
from app.experiments.evidence import flipped, read_answers, text_runs
from app.experiments.results import Results
from app.literal import literal
from app.session import experiments as session
from app.store import RunStore
from app.views.runs.naming import run_url
from engine import expected_words


def show_flips(store: RunStore, results: Results, decision: Decision, candidate: int) -> None:
    """One at a time, to read."""
    quality = decision.quality
    if quality is None or not (quality.lost or quality.gained):
        return
    st.subheader("Answers that flipped", anchor=False)
    tasks = {task.id: task for task in results.design.prompts}
    flips = flipped(decision)
    id = st.selectbox(
        "Prompt",
        list(flips),
        format_func=lambda id: f"{'Gained' if flips[id] else 'Lost'} · {tasks[id].category} · {id}",
        key=session.FLIP,
        help=f"{units.counted(len(quality.lost), 'answer')} lost, {len(quality.gained):,} gained.",
    )
    task = tasks[id]
    st.markdown(literal(task.prompt))
    if expected := expected_words(task):
        st.caption(f"Expected: {literal(expected)}")
    for column, place in zip(st.columns(2), (results.design.baseline, candidate), strict=True):
        with column, st.container(border=True):
            right = (place == candidate) == flips[id]
            icon, colour = (":material/check:", "green") if right else (":material/close:", "red")
            with st.container(horizontal=True):
                st.badge("Right" if right else "Wrong", icon=icon, color=colour)  # type: ignore[arg-type]
                st.markdown(f"**{literal(results.names[place])}**")
            st.text(read_answers(store, results, place, [id])[id] or "(no text)")
            if run_id := text_runs(results, place).get(id):
                st.link_button("Open this run", run_url(run_id), icon=":material/history:", type="tertiary")
