"""Answers that changed between right and wrong, both texts side by side."""

from __future__ import annotations

import streamlit as st

from app import units
from app.experiments.reporting.evidence import flipped, read_answers, text_runs
from app.experiments.results.arrays import Measure, Results
from app.experiments.verdicts.decision import Decision
from app.literal import literal
from app.session import experiments as session
from app.store import RunStore
from app.views.runs.naming import run_url
from engine import expected_words


def show_flips(store: RunStore, results: Results, decision: Decision, candidate: int) -> None:
    """One at a time, to read."""
    quality, judged = decision.scored, decision.measure is Measure.JUDGE
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
    st.markdown(literal(task.transcript))
    if expected := expected_words(task):
        st.caption(f"Expected: {literal(expected)}")
    for column, place in zip(st.columns(2), (results.design.baseline, candidate), strict=True):
        with column, st.container(border=True):
            right = (place == candidate) == flips[id]
            icon, colour = (":material/check:", "green") if right else (":material/close:", "red")
            words = ("Judged better", "Judged worse") if judged else ("Right", "Wrong")
            with st.container(horizontal=True):
                st.badge(words[0 if right else 1], icon=icon, color=colour)  # type: ignore[arg-type]
                st.markdown(f"**{literal(results.names[place])}**")
            st.text(read_answers(store, results, place, [id])[id] or "(no text)")
            if run_id := text_runs(results, place).get(id):
                st.link_button("Open this run", run_url(run_id), icon=":material/history:", type="tertiary")
