"""A choice among options that come and go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import streamlit as st


@dataclass(frozen=True, slots=True)
class ChosenOption:
    """The option that a selectbox holds. A widget that is drawn can be set only for the next script run."""

    key: str
    """The widget's."""

    def turn_to(self, option: str) -> None:
        """Choose an option at the next script run."""
        st.session_state[f"{self.key}-next"] = option

    def prepare(self, options: Collection[str], first: str | None = None) -> str | None:
        """Before the widget is drawn: take what was asked for, and ``first``, or the first of the options, where the
        one chosen is gone. The one that is gone, if there is."""
        wanted: str | None = st.session_state.pop(f"{self.key}-next", st.session_state.get(self.key))
        st.session_state[self.key] = wanted if wanted in options else first or next(iter(options))
        return None if wanted in options else wanted
