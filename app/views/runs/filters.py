"""The widgets that choose which runs are meant, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import streamlit as st

from app.literal import literal
from app.store import Alert, Facets, Rating, RunFilter, RunSort, RunStatus, SortColumn
from app.views.runs.naming import RATING_LABELS
from app.views.runs.narrowed import narrowed
from app.views.runs.sources import choose_sources
from app.views.shared.clock import TimeRange, now

_SORT_LABELS: dict[SortColumn, str] = {
    "created_at": "Started",
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "e2e_s": "E2E",
    "completion_tokens": "Answer tokens",
    "prompt_tokens": "Prompt tokens",
    "weights_bytes": "Weights",
    "kv_bytes": "KV cache",
    "peak_rss_bytes": "Peak memory of the process",
    "rating": "Rating",
    "status": "Status",
    "model": "Model",
    "backend": "Backend",
    "precision": "Precision",
}
_ORDER_LABELS = {True: ":material/arrow_downward: Descending", False: ":material/arrow_upward: Ascending"}
_PAGE_SIZES = (25, 50, 100, 200)
_KEPT: Literal["session"] = "session"
_ANY = "Any"
_DISTURBED = {True: "Disturbed", False: "Not disturbed"}
ALERT_QUERY = "alert"
"""The query parameter that names an alert."""


def choose_filter(facets: Facets, alert: Alert | None = None) -> RunFilter:
    """The filter as it is set; it lasts for the session, page switches included. What the address asks for narrows it;
    a group is meant whatever its source. Of an alert its runs are: started when it was found, of what it is about."""
    asked = narrowed(RunFilter())
    if alert is not None:
        _name_alert(alert)
    search, time = st.columns([3, 1])
    text = search.text_input(
        "Search",
        type="search",
        live="300ms",
        icon=":material/search:",
        placeholder="Prompts, answers, notes, errors",
        help="Found as it is written, anywhere in a prompt, an answer, a note or an error, parts of words included; "
        "the letters a to z in either case. Three characters or more are found soonest.",
        key="runs-text",
        persist_state=_KEPT,
    )
    time_range = time.selectbox(
        "Started",
        list(TimeRange),
        index=list(TimeRange).index(TimeRange.ALL),
        format_func=lambda choice: TimeRange(choice).label,
        key="runs-time",
        persist_state=_KEPT,
    )
    sources = () if asked.group_id or alert else choose_sources(facets, key="source")
    with st.grid(min_column_width=120):
        statuses = st.multiselect(
            "Status",
            list(RunStatus),
            format_func=str.capitalize,
            placeholder=_ANY,
            key="runs-status",
            persist_state=_KEPT,
        )
        models = st.multiselect("Model", facets.models, placeholder=_ANY, key="runs-model", persist_state=_KEPT)
        backends = st.multiselect("Backend", facets.backends, placeholder=_ANY, key="runs-backend", persist_state=_KEPT)
        precisions = st.multiselect(
            "Precision", facets.precisions, placeholder=_ANY, key="runs-precision", persist_state=_KEPT
        )
        tags = st.multiselect(
            "Tags",
            facets.tags,
            placeholder=_ANY,
            help="Runs that carry all of these.",
            key="runs-tags",
            persist_state=_KEPT,
        )
        ratings = st.multiselect(
            "Rating",
            get_args(Rating),
            format_func=lambda rating: RATING_LABELS[rating] or "Not rated",
            placeholder=_ANY,
            key="runs-rating",
            persist_state=_KEPT,
        )
        disturbed = st.selectbox(
            "Disturbed",
            list(_DISTURBED),
            index=None,
            format_func=lambda choice: _DISTURBED[choice],
            placeholder=_ANY,
            help="Whether others took so much of the processor that a run's speed is not to be relied on.",
            key="runs-disturbed",
            persist_state=_KEPT,
        )
    since = TimeRange(time_range or TimeRange.ALL).since(now())
    chosen = replace(
        asked,
        text=text or "",
        models=asked.models or tuple(models),
        backends=tuple(backends),
        precisions=asked.precisions or tuple(precisions),
        statuses=asked.statuses or tuple(RunStatus(status) for status in statuses),
        ratings=tuple(ratings),
        tags=tuple(tags),
        sources=sources,
        disturbed=disturbed,
        since=asked.since or since,
    )
    if alert is None:
        return chosen
    its = alert.runs
    return replace(
        chosen,
        models=its.models or chosen.models,
        config_hashes=its.config_hashes,
        sources=its.sources,
        since=its.since,
        until=its.until,
    )


def _name_alert(alert: Alert) -> None:
    """Say which alert's runs are meant, with a way to leave it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/filter_alt: Only the runs of the alert “{literal(alert.title)}”.", width="content")
        if st.button("All runs", icon=":material/close:", type="tertiary", key="leave-alert"):
            st.query_params.pop(ALERT_QUERY, None)
            st.rerun()


def choose_order() -> tuple[RunSort, int]:
    """The order of the whole list, and how many rows a page has."""
    column = st.selectbox(
        "Sort by",
        list(_SORT_LABELS),
        format_func=lambda choice: _SORT_LABELS[choice],
        help="Sorts all runs. A click on a column's heading sorts the rows in view only.",
        width=180,
        key="runs-sort",
        persist_state=_KEPT,
    )
    descending = st.segmented_control(
        "Order",
        list(_ORDER_LABELS),
        format_func=lambda choice: _ORDER_LABELS[choice],
        default=True,
        required=True,
        key="runs-descending",
        persist_state=_KEPT,
    )
    size = st.selectbox("Rows a page", _PAGE_SIZES, index=1, width=110, key="runs-size", persist_state=_KEPT)
    return RunSort(column, descending is not False), int(size or _PAGE_SIZES[1])
