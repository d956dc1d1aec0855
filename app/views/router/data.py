"""The Router lab's data: prompts of one's own, what is recorded of each tier, and the job that records."""

from __future__ import annotations

import streamlit as st

from app import resources
from app.router.lab import DataSet
from app.store import RouterStore
from app.views.router.bring import show_bring
from app.views.router.record import show_record


def show_data(store: RouterStore, data: DataSet | None, *, any_set: bool) -> None:
    """What there is, then the way to more."""
    lab = resources.get_router_lab()
    if not any_set:
        st.info(
            "No answers are recorded yet. A router is chosen and judged on what a small and a large model answer to "
            "the same prompts: record some below."
        )
    show_record(store, lab, data)
    st.subheader("Bring prompts", anchor=False)
    show_bring(store, lab)
