"""The widgets that choose which runs are meant, and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import streamlit as st

from app.literal import literal
from app.store import Alert, Facets, Rating, RunFilter, RunSort, RunStatus, SortColumn
from app.views.runs.naming import RATING_LABELS
from app.views.runs.narrowed import names_sources, narrowed
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
_KEPT_KEYS = ("text", "status", "model", "backend", "precision", "tags", "rating", "disturbed")
_ANY = "Any"
_DISTURBED = {True: "Disturbed", False: "Not disturbed"}
ALERT_QUERY = "alert"
"""The query parameter that names an alert."""


def choose_filter(facets: Facets, alert: Alert | None = None) -> RunFilter:
    """The filter as it is set; it lasts for the session, page switches included. What the address asks for is meant
    without it, and can be narrowed anew; a group whatever its source. Of an alert its runs are: started when it was
    found, of what it is about."""
    named = narrowed()
    asked = named or RunFilter()
    if alert is not None:
        _name_alert(alert)
    apart = alert is not None or named is not None
    kept = None if apart else _KEPT
    of = "narrowed" if apart else "runs"
    if apart and _is_filtered():
        st.caption("The filters that were set on this page before are left out; they hold again under “All runs”.")
    search, time = st.columns([3, 1])
    text = search.text_input(
        "Search",
        type="search",
        live="300ms",
        icon=":material/search:",
        placeholder="Prompts, answers, notes, errors",
        help="Found as it is written, anywhere in a prompt, an answer, a note or an error, parts of words included; "
        "the letters a to z in either case. Three characters or more are found soonest.",
        key=f"{of}-text",
        persist_state=kept,
    )
    time_range = time.selectbox(
        "Started",
        list(TimeRange),
        index=list(TimeRange).index(TimeRange.ALL),
        format_func=lambda choice: TimeRange(choice).label,
        key=f"{of}-time",
        persist_state=kept,
    )
    sources = asked.sources
    if not (asked.group_id or alert or names_sources()):
        sources = choose_sources(facets, key="source")
    with st.grid(min_column_width=120):
        statuses = st.multiselect(
            "Status",
            list(RunStatus),
            format_func=str.capitalize,
            placeholder=_ANY,
            key=f"{of}-status",
            persist_state=kept,
            disabled=bool(asked.statuses),
        )
        models = st.multiselect(
            "Model",
            facets.models,
            placeholder=_ANY,
            key=f"{of}-model",
            persist_state=kept,
            disabled=bool(asked.models),
        )
        backends = st.multiselect("Backend", facets.backends, placeholder=_ANY, key=f"{of}-backend", persist_state=kept)
        precisions = st.multiselect(
            "Precision",
            facets.precisions,
            placeholder=_ANY,
            key=f"{of}-precision",
            persist_state=kept,
            disabled=bool(asked.precisions),
        )
        tags = st.multiselect(
            "Tags",
            facets.tags,
            placeholder=_ANY,
            help="Runs that carry all of these.",
            key=f"{of}-tags",
            persist_state=kept,
        )
        ratings = st.multiselect(
            "Rating",
            get_args(Rating),
            format_func=lambda rating: RATING_LABELS[rating] or "Not rated",
            placeholder=_ANY,
            key=f"{of}-rating",
            persist_state=kept,
        )
        disturbed = st.selectbox(
            "Disturbed",
            list(_DISTURBED),
            index=None,
            format_func=lambda choice: _DISTURBED[choice],
            placeholder=_ANY,
            help="Whether others took so much of the processor that a run's speed is not to be relied on.",
            key=f"{of}-disturbed",
            persist_state=kept,
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
        since=max((moment for moment in (asked.since, since) if moment), default=None),
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


def _is_filtered() -> bool:
    """Whether a filter of the page's own is set that lasts for the session."""
    values = [st.session_state.get(f"runs-{name}") for name in _KEPT_KEYS]
    return any(value not in (None, "", []) for value in values) or st.session_state.get(
        "runs-time", TimeRange.ALL
    ) not in (None, TimeRange.ALL)


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
