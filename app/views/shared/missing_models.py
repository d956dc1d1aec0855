"""Models that cannot be run as they are, and the way out: the banner of every page that runs some."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from app.literal import literal
from app.views.shared.errors import show_error
from engine import ModelInfo


def show_missing(models: Sequence[ModelInfo], chosen: Collection[str] = (), *, change: str = "above") -> bool:
    """Tell of the chosen models that are not installed or not sound, and of a library without any that is; says
    whether something is in the way.

    What is no model of the library, such as an id on a hub, is for the engine to judge.

    Args:
        models: the library.
        chosen: models by name; none where any will do.
        change: where another one is chosen: "under 'Settings'".
    """
    some_installed = any(model.installed for model in models)
    unusable = [model for model in models if model.name in chosen and not model.installed]
    if not unusable and (chosen or some_installed):
        return False
    missing = [model.title for model in unusable if model.problem is None]
    if missing or not unusable:
        st.info(
            f"Install it on the Models page, or choose another model {change}."
            if some_installed
            else "No model is installed yet. Install one on the Models page.",
            title=f"Not installed yet: {literal(', '.join(missing))}" if missing else None,
            icon=":material/download:",
        )
    for model in unusable:
        if model.problem is not None:
            show_error(f"{model.problem} Choose another model {change}.")
    st.page_link("pages/models.py", label="Open Models", icon=":material/deployed_code:")
    return True
