"""Which runs the address asks for, where a figure of another page leads to the runs that it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.store import RunFilter, RunStatus
from app.views.runs.naming import HISTORY_PATH, page_url
from app.views.runs.sources import sources_value
from app.views.shared.clock import reader_zone

_FIELDS: Mapping[str, tuple[str, str]] = {
    "group": ("group_id", "that belong together, such as an experiment's"),
    "model": ("models", "of"),
    "precision": ("precisions", "at"),
    "configuration": ("config_hashes", "of configuration"),
    "status": ("statuses", "that are"),
    "reason": ("finish_reasons", "that ended with"),
    "error": ("error_kinds", "that failed with"),
    "tier": ("tiers", "answered by"),
    "key": ("key_names", "of the key"),
    "since": ("since", "started from"),
    "until": ("until", "started before"),
}
"""By query parameter: what it sets of a filter, and the words before its value."""
_MOMENTS = ("since", "until")


def runs_query(filter: RunFilter) -> dict[str, str]:
    """The query parameters by which the Runs page shows the runs that a filter lets through. Of a part with several
    values, the first is named."""
    query = {"source": sources_value(filter.sources)}
    for name, (field, _) in _FIELDS.items():
        value = getattr(filter, field)
        if isinstance(value, tuple):
            value = value[0] if value else None
        if isinstance(value, datetime):
            query[name] = value.astimezone(UTC).isoformat()
        elif value is not None:
            query[name] = str(value)
    return query


def runs_url(filter: RunFilter) -> str:
    """The address of the Runs page that shows them."""
    return page_url(HISTORY_PATH, **runs_query(filter))


def narrowed(filter: RunFilter) -> RunFilter:
    """The filter with what the address asks for, which the reader is told and can leave."""
    asked = {name: value for name in _FIELDS if (value := st.query_params.get(name))}
    found = {name: value for name, text in asked.items() if (value := _value(name, text)) is not None}
    if not found:
        return filter
    words = " · ".join(_words(name, value) for name, value in found.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/filter_alt: Only runs {words}.", width="content")
        if st.button("All runs", icon=":material/close:", type="tertiary"):
            for name in asked:
                del st.query_params[name]
            st.rerun()
    return replace(filter, **{_FIELDS[name][0]: _as_field(name, value) for name, value in found.items()})


def _value(name: str, text: str) -> Any:
    """What a query parameter means; ``None`` where it means nothing."""
    if name in _MOMENTS:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if name == "status":
        return RunStatus(text) if text in set(RunStatus) else None
    return text


def _words(name: str, value: Any) -> str:
    before = _FIELDS[name][1]
    if name == "group":
        return before
    shown = units.moment(value, reader_zone()) if name in _MOMENTS else str(value)
    return f"{before} {literal(shown)}"


def _as_field(name: str, value: Any) -> Any:
    return value if name in ("group", *_MOMENTS) else (value,)
