"""What fires, what was promised and whether it is kept, the rules, and who is told."""

import streamlit as st

from app import resources
from app.operations.alerts.watch import TURN
from app.session.identity import person_id
from app.views.operations.alerts.channels import show_channels, show_trouble
from app.views.operations.alerts.checked import show_last_look
from app.views.operations.alerts.firing import show_alerts
from app.views.operations.alerts.objectives import show_objectives
from app.views.operations.alerts.rules import show_rules
from app.views.shared.errors import errors_shown

ALERTS, OBJECTIVES, RULES, CHANNELS = "Alerts", "SLOs", "Rules", "Channels"
REFRESH_EVERY = "10s"

store = resources.get_store()

st.title("Alerts", anchor=False)
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    section = st.segmented_control(
        "Show",
        (ALERTS, OBJECTIVES, RULES, CHANNELS),
        default=ALERTS,
        required=True,
        key="alerts",
        bind="query-params",
        label_visibility="collapsed",
    )
    with errors_shown():
        show_last_look(store.turns.holder(TURN))


def alerts() -> None:
    """What fires, read anew each time it is drawn."""
    with errors_shown():
        show_trouble(store.alerts.channels)
        show_alerts(store.alerts, person_id())


with errors_shown():
    if section == OBJECTIVES:
        show_objectives(store, store.facets())
    elif section == RULES:
        show_rules(store.alerts, store.facets(), may_change=store.may_administer)
    elif section == CHANNELS:
        show_channels(store.alerts.channels, may_change=store.may_administer)
    else:
        st.fragment(alerts, run_every=REFRESH_EVERY)()
