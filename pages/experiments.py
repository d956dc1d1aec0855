"""From one run to a verdict: prompts × configurations, answered, timed and held against each other."""

import streamlit as st

from app import resources
from app.session import experiments as session
from app.views.experiments.autopilot.listing import show_autopilots
from app.views.experiments.autopilot.opened import show_autopilot
from app.views.experiments.listing import show_list
from app.views.experiments.new import show_new
from app.views.experiments.opened import show_experiment

store = resources.get_store()
st.title("Experiments", anchor=False)
opened, autopilot = session.opened(), session.AUTOPILOT.id()
if opened is not None:
    show_experiment(store, opened)
elif autopilot is not None:
    show_autopilot(store, autopilot)
else:
    st.caption("One run is an anecdote. Ask a question of a set of prompts, and get a verdict with its evidence.")
    show_list(store.experiments.all())
    show_autopilots(store.autopilots.all())
    st.subheader("New experiment", anchor=False)
    show_new(store)
