"""A page that asks, once for each click, through the app's service and reads every event, but draws nothing before the
end."""

import json
from contextlib import closing

import streamlit as st

from app import resources
from app.runs.service import stream
from engine.types import RunFinished
from tests.benchmarks.screen.request import request, times_of

if st.button("Ask"):
    ended = None
    with closing(stream(resources.get_engine(), resources.get_store(), request(), person_id="reader")) as events:
        for event in events:
            if isinstance(event, RunFinished):
                ended = event
    if ended is None:
        raise RuntimeError("the run did not finish")
    st.session_state["asked"] = st.session_state.get("asked", 0) + 1
    st.code(json.dumps([st.session_state["asked"], *times_of(ended)]))
