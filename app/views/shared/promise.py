"""What a router profile in a configuration promises, where that is not shown yet."""

from __future__ import annotations

import json

import streamlit as st

from app.literal import literal
from app.router.choosing.verdict import promise_in_words, promise_mark
from engine.cascade import RouterProfile
from engine.types import RunConfig


def show_unshown(config: RunConfig) -> None:
    """Say of a configuration that goes by a router profile what its threshold is meant to promise, while too few
    prompts have shown it."""
    cascade = config.optimization.cascade
    if cascade is None or cascade.profile is None:
        return
    promise = RouterProfile.from_dict(json.loads(cascade.profile)).promise
    if promise and (mark := promise_mark(promise)):
        words = f"Router meant to {promise_in_words(promise)}: {mark}."
        st.caption(f":orange[:material/hourglass_top: {literal(words)}]")
