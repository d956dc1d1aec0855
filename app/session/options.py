"""A choice among options that come and go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import streamlit as st

from app.session.address import named_anew, put


@dataclass(frozen=True, slots=True)
class ChosenOption:
    """The option that a selectbox holds. A widget that is drawn can be set only for the next script run."""

    key: str
    """The widget's."""
    parameter: str = ""
    """The query parameter by which the page's address names it; empty where it does not."""

    def turn_to(self, option: str) -> None:
        """Choose an option at the next script run."""
        st.session_state[f"{self.key}-next"] = option

    def prepare(self, options: Collection[str], first: str | None = None) -> str | None:
        """Before the widget is drawn: take what the address names or was asked for; ``first``, or the first of the
        options, where the one chosen is gone. The one that is gone, if there is."""
        named = named_anew(self.parameter) if self.parameter else None
        if named is not None and named in options:
            self.turn_to(named)
        wanted: str | None = st.session_state.pop(f"{self.key}-next", st.session_state.get(self.key))
        st.session_state[self.key] = wanted if wanted in options else first or next(iter(options))
        return None if wanted in options else wanted

    def into_address(self) -> None:
        """Once the widget is drawn: let the address name what it holds."""
        put(self.parameter, str(st.session_state[self.key]))
