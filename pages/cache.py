"""What is kept of earlier runs, what it saved, why a prompt was not reused, and what another budget would do."""

import streamlit as st

from app import resources
from app.session.identity import person_id
from app.views.cache.misses import show_misses, show_reuse_over_time
from app.views.cache.now import show_kept
from app.views.cache.simulator import show_simulator
from app.views.operations.alerts.arrived import show_runs_of_alert
from app.views.shared.missing_models import show_missing
from engine import list_models

NOW, MISSES, SIMULATOR = "Kept now", "Reuse and misses", "Simulator"

st.title("Cache lab", anchor=False)
section = st.segmented_control(
    "Show",
    [NOW, MISSES, SIMULATOR],
    default=NOW,
    required=True,
    key="cache-section",
    bind="query-params",
    label_visibility="collapsed",
)
store = resources.get_store()
show_runs_of_alert(store)
if section == MISSES:
    show_reuse_over_time(store)
    show_misses(store)
elif section == SIMULATOR:
    show_simulator(resources.get_simulations())
else:
    show_missing(list_models(resources.get_settings().models_dir))
    show_kept(resources.get_engine(), person_id())
