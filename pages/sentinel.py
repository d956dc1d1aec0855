"""Golden prompts: whether they are answered as they were, after every change of weights, kernels or version."""

import streamlit as st

from app import resources
from app.operations.sentinel.standing import standings
from app.views.operations.sentinel.glance import show_glance, show_replay
from app.views.operations.sentinel.listing import show_one, show_rounds, show_table
from app.views.operations.sentinel.regressions import show_open

store = resources.get_store()
st.title("Sentinel", anchor=False)
st.caption("Are golden prompts still answered as they were, with the same tokens, as near to 16 bits, as fast?")

found = standings(store.sentinel)
if not found:
    st.info(
        "No golden prompts yet. Open a run whose answer is as it should stay, and choose “Golden prompt”: it is "
        "replayed after every change of weights, kernels or version."
    )
    st.page_link("pages/runs.py", label="Choose a run", icon=":material/history:")
    st.stop()

rounds = store.sentinel.rounds()
show_glance(found, rounds)
show_replay(store, [each.golden.id for each in found])
show_open(store, [each for each in found if each.is_open])
st.subheader("Golden prompts", anchor=False)
show_table(found)
show_one(store, found)
if rounds:
    st.subheader("Replays", anchor=False)
    show_rounds(rounds)
