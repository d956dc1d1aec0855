"""Chosen models that cannot be run as they are, and the way out."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import streamlit as st

from app.literal import literal
from app.views.shared.errors import show_error
from engine import ModelInfo


def show_missing(models: Iterable[ModelInfo], chosen: Collection[str], *, change: str) -> bool:
    """Tell of the chosen models that are not installed or not sound; says whether there are any.

    What is no model of the library, such as an id on a hub, is for the engine to judge.

    Args:
        models: the library.
        chosen: models by name.
        change: where another one is chosen: "under 'Settings'".
    """
    unusable = [model for model in models if model.name in chosen and not model.installed]
    if missing := [model.title for model in unusable if model.problem is None]:
        st.info(
            f"Install it on the Models page, or choose another model {change}.",
            title=f"Not installed yet: {literal(', '.join(missing))}",
            icon=":material/download:",
        )
    for model in unusable:
        if model.problem is not None:
            show_error(f"{model.problem} Choose another model {change}.")
    if unusable:
        st.page_link("pages/models.py", label="Open Models", icon=":material/deployed_code:")
    return bool(unusable)
