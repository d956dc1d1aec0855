"""Which runs the address asks for, where a figure of another page leads to the runs that it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from app import units
from app.literal import literal
from app.store import RunFilter, RunStatus
from app.views.runs.naming import HISTORY_PATH, page_url
from app.views.runs.sources import sources_of, sources_values, sources_words
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
    "sources": ("sources", ""),
}
"""By query parameter: what it sets of a filter, and the words before its value."""
_MOMENTS = ("since", "until")


def runs_query(filter: RunFilter) -> dict[str, list[str]]:
    """The query parameters, with all values of each, by which the Runs page shows the runs that a filter lets
    through."""
    query: dict[str, list[str]] = {}
    for name, (field, _) in _FIELDS.items():
        if field == "sources":
            query[name] = sources_values(filter.sources)
            continue
        value = getattr(filter, field)
        values = value if isinstance(value, tuple) else (value,)
        known = [_text(each) for each in values if each is not None]
        if known:
            query[name] = known
    return query


def runs_url(filter: RunFilter) -> str:
    """The address of the Runs page that shows them."""
    return page_url(HISTORY_PATH, **runs_query(filter))


def names_sources() -> bool:
    """Whether the address says which sources are meant."""
    return any(_value("sources", text) is not None for text in st.query_params.get_all("sources"))


def narrowed() -> RunFilter | None:
    """What the address asks for, which the reader is told and can leave; ``None`` where it asks for nothing."""
    asked = {name: texts for name in _FIELDS if (texts := [text for text in st.query_params.get_all(name) if text])}
    meant = {
        name: [value for text in texts if (value := _value(name, text)) is not None] for name, texts in asked.items()
    }
    found = {name: values for name, values in meant.items() if values}
    if not found:
        return None
    words = " · ".join(_words(name, values) for name, values in found.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/filter_alt: Only runs {words}.", width="content")
        if st.button("All runs", icon=":material/close:", type="tertiary"):
            for name in asked:
                del st.query_params[name]
            st.rerun()
    return RunFilter(**{_FIELDS[name][0]: _as_field(name, values) for name, values in found.items()})


def _text(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


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
    return sources_of(text) if name == "sources" else text


def _words(name: str, values: Sequence[Any]) -> str:
    before = _FIELDS[name][1]
    if name == "group":
        return before
    if name == "sources":
        return sources_words(_as_field(name, values))
    shown = [literal(units.moment(value, reader_zone()) if name in _MOMENTS else str(value)) for value in values]
    return f"{before} {' or '.join(shown[:1] if name in _MOMENTS else shown)}"


def _as_field(name: str, values: Sequence[Any]) -> Any:
    if name == "sources":
        return tuple(source for several in values for source in several)
    return values[0] if name in ("group", *_MOMENTS) else tuple(values)
