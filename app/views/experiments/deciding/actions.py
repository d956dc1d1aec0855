"""What can be taken away from a verdict: its report, its design, and the two configurations played again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from app.experiments.planning.writing import design_toml, file_stem, own_prompts, own_prompts_name
from app.experiments.reporting.day import Day
from app.experiments.reporting.page import report_page
from app.experiments.results.arrays import Bools, Results
from app.literal import literal
from app.replay.recorded import ReplayError, ReplayLane
from app.session import experiments as session
from app.store import Pass, RunStore
from app.views.reports.replay import show_replay
from app.views.runs.naming import one_line

_KEY = "experiments"


def show_actions(
    store: RunStore, results: Results, candidate: int, *, margin_points: float, day: Day, among: Bools
) -> None:
    """Buttons in a row: the report of a candidate, the design as a file, and a replay.

    Args:
        store: as the reader sees it.
        results: of the experiment.
        candidate: its place among the configurations.
        margin_points: that the verdict is held against.
        day: what costs are reckoned with.
        among: the prompts that are looked at, ``[prompts]``.
    """
    stem = file_stem(results.design.name)
    looked_at = {category for category, here in zip(results.categories, among, strict=True) if here}
    st.download_button(
        "Report",
        partial(
            report_page,
            store,
            results,
            candidate,
            margin_points=margin_points,
            day=day,
            categories=sorted(looked_at) if looked_at < {*results.categories} else (),
        ),
        file_name=f"{stem}-report.html",
        mime="text/html",
        key=f"{_KEY}-report",
        icon=":material/description:",
        on_click="ignore",
        help="One HTML file to send or print: verdict, figures, flips, machine, and how to make it again.",
    )
    pairs = _pairs(results, candidate, among)
    pressed = st.button(
        "Replay",
        key=f"{_KEY}-replay",
        icon=":material/replay:",
        disabled=not pairs,
        help="The baseline and the candidate answer a prompt again, in their true time."
        if pairs
        else "Nothing was timed with both, with the engine alone, that is still there.",
    )
    with st.popover("As a file", icon=":material/file_save:", help="The experiment for another machine."):
        _offer_design(replace(results, design=replace(results.design, margin_points=margin_points)), stem)
    if pressed:
        _replay(store, results, candidate, pairs)


def _offer_design(results: Results, stem: str) -> None:
    design = results.design
    st.caption(f"Run it with `gearbox experiment run {stem}.toml`.")
    st.download_button(
        "Design",
        partial(design_toml, design),
        file_name=f"{stem}.toml",
        mime="application/toml",
        key=f"{_KEY}-design",
        icon=":material/download:",
        on_click="ignore",
    )
    if (prompts := own_prompts(design)) is not None:
        st.caption("Its prompts are none of Gearbox's own sets: put them beside it.")
        st.download_button(
            "Prompts",
            prompts,
            file_name=own_prompts_name(design),
            mime="application/jsonl",
            key=f"{_KEY}-prompts",
            icon=":material/download:",
            on_click="ignore",
        )


def _pairs(results: Results, candidate: int, among: Bools) -> dict[str, tuple[str, str]]:
    """By prompt, the baseline's and the candidate's timed run, where both are there."""
    before, after = (results.run_ids(place, Pass.SPEED) for place in (results.design.baseline, candidate))
    return {
        id: (before[id], after[id])
        for id, here in zip(results.prompt_ids, among, strict=True)
        if here and id in before and id in after
    }


@st.dialog("Replay", width="large", icon=":material/replay:")
def _replay(store: RunStore, results: Results, candidate: int, pairs: dict[str, tuple[str, str]]) -> None:
    tasks = {task.id: task for task in results.design.prompts}
    id = st.selectbox(
        "Prompt",
        list(pairs),
        format_func=lambda id: f"{tasks[id].category} · {one_line(tasks[id].prompt)}",
        key=session.REPLAYED,
    )
    names = (results.names[results.design.baseline], results.names[candidate])
    lanes = []
    for name, run_id in zip(names, pairs[id], strict=True):
        (run,) = store.get_many([run_id]) or (None,)
        if run is None:
            st.caption(f"{literal(name)}: this run was deleted.")
            continue
        try:
            lanes.append(ReplayLane.of(run, store.timeline(run_id), name))
        except ReplayError as error:
            st.caption(literal(str(error)))
    if lanes:
        show_replay(lanes, key=f"{_KEY}-lanes")
