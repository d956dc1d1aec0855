"""In one line: whether all is within its promise, and which alerts fire."""

from __future__ import annotations

import streamlit as st

from app.literal import literal
from app.operations.objectives.attainment import attainment
from app.operations.objectives.words import objective_name
from app.store import AlertState, RunStore
from app.units import counted
from app.views.shared.clock import now

_PAGE = "pages/alerts.py"
_NAMED = 3


def show_standing(store: RunStore) -> None:
    """The line, with the way to the page that has the rest.

    Raises:
        StoreError: the run database cannot be read.
    """
    at = now()
    standings = [attainment(store.objectives, each, at) for each in store.objectives.all()]
    broken = [each for each in standings if each.verdict == "broken"]
    told = [each for each in standings if each.verdict != "no runs"]
    alerts = [alert for alert in store.alerts.open() if alert.state(at) is not AlertState.SILENCED]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if alerts:
            names = "; ".join(literal(alert.title) for alert in alerts[:_NAMED])
            more = f" and {len(alerts) - _NAMED} more" if len(alerts) > _NAMED else ""
            st.badge(counted(len(alerts), "alert"), icon=":material/notifications_active:", color="red")
            st.markdown(f"{names}{more}", width="content")
        if broken:
            st.badge(f"{len(broken)} of {counted(len(standings), 'SLO')} broken", icon=":material/error:", color="red")
            if not alerts:
                names = "; ".join(literal(objective_name(each.objective)) for each in broken[:_NAMED])
                st.markdown(names, width="content")
        elif told:
            st.badge(
                f"{counted(len(told), 'SLO')} kept" if len(told) > 1 else "The SLO is kept",
                icon=":material/check_circle:",
                color="green",
            )
        if not alerts and not broken and not told:
            words = "No SLO is set yet" if not standings else "No run yet that an SLO is about"
            st.badge(words, icon=":material/flag:", color="gray")
        if not alerts:
            st.badge("No alert fires", icon=":material/notifications:", color="green")
        st.page_link(_PAGE, label="Alerts and SLOs", icon=":material/arrow_forward:")
