"""What concerns everybody, and only some may change."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import resources
from app.views.shared.errors import errors_shown
from engine.errors import GearboxError


def may_administer() -> bool:
    """Whether the viewer may change what all have. Without the run database nobody knows who that is, and nobody
    may."""
    try:
        return resources.get_store().may_administer
    except GearboxError:
        return False


def show_read_only(what: str) -> None:
    """Why there is nothing to change here.

    Args:
        what: is shown, such as rules.
    """
    st.caption(f":material/lock: Only the machine's own desk may change {what}.")


def show_switch(key: str, *, on: bool, keep: Callable[[bool], None] | None) -> None:
    """A switch that shows what is stored, also where another window changed it or it could not be kept.

    Args:
        key: of the widget.
        on: as it is stored.
        keep: stores it; what it raises is shown. ``None`` where the viewer may not.
    """

    def changed() -> None:
        if keep is not None:
            with errors_shown():
                keep(bool(st.session_state[key]))

    st.session_state[key] = on
    st.toggle(
        "On", key=key, on_change=changed, disabled=keep is None, label_visibility="collapsed", help="Whether it is on."
    )
