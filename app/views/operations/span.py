"""Which span of time the page is about: a range up to now, or from one moment to another as the address names it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import streamlit as st

from app import units
from app.operations.stretches import cut
from app.store import RunStore
from app.views.shared.clock import TimeRange, now, reader_zone

_FROM, _TO = "from", "to"
"""Query parameters, ISO 8601 with an offset."""
_LEAST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time."""

    since: datetime
    until: datetime
    edges: tuple[datetime, ...]
    """Where the reader's clock and calendar cut it."""


def choose_span() -> None:
    """The widgets."""
    named = _named()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Runs started",
            list(TimeRange),
            format_func=lambda choice: TimeRange(choice).label,
            default=TimeRange.DAY,
            required=True,
            key="range",
            bind="query-params",
            disabled=named is not None,
        )
        with st.popover("From – to", icon=":material/date_range:"):
            _choose_moments(named)
        if named and st.button(
            f"{units.moment(named[0], reader_zone())} – {units.moment(named[1], reader_zone())}",
            icon=":material/close:",
            help="Back to a range up to now.",
            key="ops-span-leave",
        ):
            zoom_out()
            st.rerun()


def _choose_moments(named: tuple[datetime, datetime] | None) -> None:
    zone = reader_zone()
    until = now()
    first, last = named or (until - timedelta(days=1), until)
    begin = st.datetime_input("From", _local(first), key="ops-from", format="YYYY-MM-DD")
    end = st.datetime_input("To", _local(last), key="ops-to", format="YYYY-MM-DD")
    st.caption(f"Times of {zone}.")
    if st.button("Show", key="ops-span-show", type="primary", width="stretch"):
        if begin is None or end is None or end - begin < _LEAST:
            st.warning("The end must lie after the beginning.")
        else:
            zoom(begin.replace(tzinfo=zone), end.replace(tzinfo=zone))
            st.rerun()


def zoom(since: datetime, until: datetime) -> None:
    """Let the page be about a span from the next script run on."""
    st.query_params[_FROM] = since.astimezone(UTC).isoformat()
    st.query_params[_TO] = until.astimezone(UTC).isoformat()


def zoom_out() -> None:
    """Let the page be about a range up to now again."""
    for name in (_FROM, _TO):
        st.query_params.pop(name, None)


def span_of(store: RunStore) -> Span:
    """The span as it is chosen, at this moment.

    Raises:
        StoreError: the database cannot be used.
    """
    named = _named()
    if named is None:
        chosen = TimeRange(st.session_state.get("range") or TimeRange.DAY)
        until = now()
        since = chosen.since(until)
        if since is None:
            known = store.stretch_of_all()
            # where a clock was set back, runs lie ahead
            since, until = known[0] if known else until - _LEAST, max(until, known[1]) if known else until
    else:
        since, until = named
    return Span(since, until, cut(since, until, reader_zone()))


def _named() -> tuple[datetime, datetime] | None:
    """What the address names; ``None`` where that is nothing, or nonsense."""
    try:
        since, until = (datetime.fromisoformat(st.query_params.get(name, "")) for name in (_FROM, _TO))
    except ValueError:
        return None
    since, until = (each if each.tzinfo else each.replace(tzinfo=UTC) for each in (since, until))
    return (since, until) if until - since >= _LEAST else None


def _local(moment: datetime) -> datetime:
    return moment.astimezone(reader_zone()).replace(tzinfo=None, second=0, microsecond=0)
