"""A page that asks through the app's service and reads every event, but draws nothing before the end."""

import json
from contextlib import closing

import streamlit as st

from app import resources
from app.runs.service import stream
from engine.types import RunFinished
from tests.benchmarks.screen.request import request, times_of

ended = None
with closing(stream(resources.get_engine(), resources.get_store(), request(), person_id="reader")) as events:
    for event in events:
        if isinstance(event, RunFinished):
            ended = event
st.code(json.dumps(times_of(ended.metrics if ended else None)))
