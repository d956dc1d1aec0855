"""What is known of a model, side by side."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app.literal import literal


def show_facts(facts: Mapping[str, str]) -> None:
    """Each label small above its value; values may be anybody's text."""
    with st.container(horizontal=True, gap="medium"):
        for label, value in facts.items():
            st.markdown(f":small[:gray[{label}]]  \n{literal(value)}", width="content")
