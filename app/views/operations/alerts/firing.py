"""What fires: each alert with what it found, where to look, and what can be done about it; and what fired before."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import streamlit as st

from app.literal import literal
from app.operations.alerts.messages import NO_LONGER
from app.operations.objectives.words import stretch
from app.store import Alert, AlertEvent, AlertState, AlertStore, EventKind, Gear
from app.units import MISSING, moment
from app.views.runs.filters import ALERT_QUERY
from app.views.shared.clock import TimeRange, now, reader_zone
from app.views.shared.errors import errors_shown

_Colour = Literal["red", "orange", "gray", "green"]
_BADGES: dict[AlertState, tuple[str, _Colour]] = {
    AlertState.FIRING: (":material/notifications_active:", "red"),
    AlertState.ACKNOWLEDGED: (":material/person_check:", "orange"),
    AlertState.SILENCED: (":material/notifications_off:", "gray"),
    AlertState.RESOLVED: (":material/check:", "green"),
}
_LABS = {
    Gear.PRECISION: ("pages/quantization.py", "Quantization lab", ":material/compress:"),
    Gear.CASCADE: ("pages/router.py", "Router lab", ":material/alt_route:"),
    Gear.KV_CACHE: ("pages/cache.py", "Cache lab", ":material/memory:"),
    Gear.SPECULATION: ("pages/speculation.py", "Speculation lab", ":material/fast_forward:"),
    Gear.MACHINE: ("pages/operations.py", "Operations", ":material/monitoring:"),
}
_SECTIONS = {Gear.CASCADE: {"step": "watch"}, Gear.KV_CACHE: {"cache-section": "Reuse and misses"}}
"""Where in a lab the runs' own figures are."""
_SILENCES = (timedelta(hours=1), timedelta(hours=4), timedelta(days=1), timedelta(days=7))
_EVENTS = {
    EventKind.FIRED: "Fired",
    EventKind.ACKNOWLEDGED: "Acknowledged",
    EventKind.SILENCED: "Silenced",
    EventKind.UNSILENCED: "Silence ended",
    EventKind.RESOLVED: "Resolved",
}
_HISTORY = 100


def show_alerts(alerts: AlertStore, person: str) -> None:
    """Those that are open, or that none is, and a table of the latest.

    Args:
        alerts: where they are kept.
        person: who looks, and acknowledges.

    Raises:
        StoreError: the run database cannot be read.
    """
    open, at = alerts.open(), now()
    if not open:
        st.success("No alert fires.", icon=":material/check_circle:")
    happened = alerts.events([alert.id for alert in open])
    for alert in open:
        _show(alerts, alert, [event for event in happened if event.alert_id == alert.id], person, at)
    _show_history(alerts, at)


def _show(alerts: AlertStore, alert: Alert, happened: list[AlertEvent], person: str, at: datetime) -> None:
    state, zone = alert.state(at), reader_zone()
    icon, colour = _BADGES[state]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(str(state).capitalize(), icon=icon, color=colour)
            st.markdown(f"**{literal(alert.title)}**", width="stretch")
            st.caption(f"since {moment(alert.opened_at, zone)}", width="content")
        st.markdown(literal(alert.words))
        page, label, lab_icon = _LABS[alert.gear]
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Look first at: **{alert.gear}**", width="content")
            st.page_link(page, label=label, icon=lab_icon, query_params=_loaded(alert))
            st.page_link(
                "pages/runs.py", label="Its runs", icon=":material/history:", query_params={ALERT_QUERY: alert.id}
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            if alert.acknowledged_at is None and st.button(
                "Acknowledge",
                icon=":material/person_check:",
                help="Say that somebody looks after it. Channels are told again only once it is resolved.",
                key=f"acknowledge-{alert.id}",
            ):
                with errors_shown():
                    alerts.acknowledge(alert.id, person)
                    st.rerun()
            _silence(alerts, alert, person, at)
            with st.popover("Runbook", icon=":material/menu_book:"):
                st.markdown(as_lines(alert.runbook))
            with st.popover("What happened", icon=":material/history:"):
                for event in happened:
                    by = "" if event.what in (EventKind.FIRED, EventKind.RESOLVED) else _by(event, person)
                    st.markdown(f":gray[{moment(event.at, zone)}] {_EVENTS[event.what]}{by}")


def _loaded(alert: Alert) -> dict[str, str]:
    """What a page's address says so that it shows the alert's runs."""
    if alert.gear is Gear.MACHINE:
        model = {"model": alert.scope.model} if alert.scope.model else {}
        return {"range": TimeRange.DAY.label, **model}
    return {ALERT_QUERY: alert.id, **_SECTIONS.get(alert.gear, {})}


def _silence(alerts: AlertStore, alert: Alert, person: str, at: datetime) -> None:
    if alert.is_silent(at):
        if st.button("End silence", icon=":material/notifications:", key=f"unsilence-{alert.id}"):
            with errors_shown():
                alerts.silence(alert.id, at, person)
                st.rerun()
        st.caption(f"silent until {moment(alert.silenced_until, reader_zone())}", width="content")
        return
    with st.popover("Silence", icon=":material/notifications_off:"):
        st.caption("Nobody is told of it, nor of the next ones of its rule, for")
        for length in _SILENCES:
            if st.button(stretch(length), key=f"silence-{alert.id}-{length.total_seconds():.0f}", width="stretch"):
                with errors_shown():
                    alerts.silence(alert.id, now() + length, person)
                    st.rerun()
        date = st.datetime_input("Or until", value=None, key=f"silence-until-{alert.id}", help="In your own time zone.")
        if date is not None and st.button("Silence until then", key=f"silence-then-{alert.id}", width="stretch"):
            until = date.replace(tzinfo=reader_zone())
            if until <= at:
                st.error("That moment is past.", icon=":material/error:")
                return
            with errors_shown():
                alerts.silence(alert.id, until, person)
                st.rerun()


def _show_history(alerts: AlertStore, at: datetime) -> None:
    past = [alert for alert in alerts.history(_HISTORY) if alert.resolved_at is not None]
    st.subheader("Before", anchor=False)
    if not past:
        st.caption("No alert has fired and ended yet.")
        return
    zone = str(reader_zone())
    events = alerts.events([alert.id for alert in past])
    ended = {event.alert_id: event.words for event in events if event.what is EventKind.RESOLVED}
    column = st.column_config
    st.dataframe(
        {
            "opened": [alert.opened_at for alert in past],
            "resolved": [alert.resolved_at for alert in past],
            "ended": [ended.get(alert.id) or NO_LONGER for alert in past],
            "title": [alert.title for alert in past],
            "gear": [str(alert.gear) for alert in past],
            "words": [alert.words for alert in past],
            "taken": [alert.acknowledged_at for alert in past],
        },
        column_config={
            "opened": column.DatetimeColumn("Fired", format="YYYY-MM-DD HH:mm", timezone=zone),
            "resolved": column.DatetimeColumn("Resolved", format="YYYY-MM-DD HH:mm", timezone=zone),
            "ended": column.TextColumn("How it ended"),
            "title": column.TextColumn("Alert"),
            "gear": column.TextColumn("Look first at"),
            "words": column.TextColumn("What was found", width="large"),
            "taken": column.DatetimeColumn("Acknowledged", format="YYYY-MM-DD HH:mm", timezone=zone),
        },
        hide_index=True,
        placeholder=MISSING,
        alt="Alerts of the past",
    )


def _by(event: AlertEvent, person: str) -> str:
    return " by you" if event.person == person else " by somebody else"


def as_lines(text: str) -> str:
    """A text of several lines as Markdown that shows it as it was written."""
    return "  \n".join(literal(line) for line in text.splitlines())
