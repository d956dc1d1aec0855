"""The widget that picks the runs to compare, searching in the store."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.literal import literal
from app.store import RunFilter, RunStore, RunSummary
from app.units import counted
from app.views.runs.naming import MAX_COMPARED, describe
from app.views.runs.sources import choose_sources

QUERY_KEY = "compare"
"""The query parameter that holds the compared runs' ids, in order, with commas between."""
_PICKER = "compare-picker"
_OFFERED = 50


def runs_in_url() -> tuple[str, ...]:
    """The ids the URL asks to compare, each once, at most as many as can be compared."""
    ids = dict.fromkeys(part.strip() for part in st.query_params.get(QUERY_KEY, "").split(",") if part.strip())
    return tuple(ids)[:MAX_COMPARED]


def pick_runs(store: RunStore, chosen: Sequence[RunSummary]) -> None:
    """Pick runs from the newest that match a search, or all that belong together.

    The choice goes into the URL, and comes back through `runs_in_url` when the page runs again.
    """
    text = st.text_input(
        "Search runs",
        type="search",
        live="300ms",
        icon=":material/search:",
        placeholder="Prompts, answers, notes, errors",
        key="compare-search",
    )
    sources = choose_sources(store.facets(), key="compare-source")
    matching = store.page(RunFilter(text=text or "", sources=sources), limit=_OFFERED)
    found = matching.rows
    offered = {run.id: run for run in (*chosen, *found)}

    # The URL is the truth: whatever the picker held before gives way to it.
    st.session_state[_PICKER] = [run.id for run in chosen]
    st.multiselect(
        "Runs",
        list(offered),
        format_func=lambda run_id: describe(offered[run_id]),
        max_selections=MAX_COMPARED,
        placeholder=f"Choose 2 to {MAX_COMPARED} runs",
        help="The others are compared with the first.",
        key=_PICKER,
        on_change=lambda: _compare(st.session_state[_PICKER]),
    )

    if matching.searched_since:
        st.caption("Of texts of one or two characters only the newest runs are looked through: type three for all.")
    elif matching.total > len(found):
        st.caption(f"The newest {len(found)} of {counted(matching.total, 'run')} are offered. Search for older ones.")

    groups = started_together(found)
    if groups:
        with st.popover("Belonging together", icon=":material/group_work:"):
            for group in groups:
                label = f"{literal(describe(group[0]))} · {counted(len(group), 'run')}"
                ids = [run.id for run in group]
                st.button(label, key=f"group-{group[0].group_id}", type="tertiary", on_click=_compare, args=(ids,))


def started_together(runs: Sequence[RunSummary]) -> list[tuple[RunSummary, ...]]:
    """The runs that share a group, each group in the order it was started, newest group first.

    Args:
        runs: Newest first.
    """
    groups: dict[str, list[RunSummary]] = {}
    for run in reversed(runs):
        if run.group_id:
            groups.setdefault(run.group_id, []).append(run)
    return [tuple(group[:MAX_COMPARED]) for group in reversed(groups.values()) if len(group) > 1]


def _compare(run_ids: Sequence[str]) -> None:
    if run_ids:
        st.query_params[QUERY_KEY] = ",".join(run_ids)
    else:
        st.query_params.pop(QUERY_KEY, None)
