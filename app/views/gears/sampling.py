"""How tokens are chosen, and how long an answer may get: the widgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.session.configuration import Form

SETTINGS = ("temperature", "max-tokens", "top-p", "top-k", "repetition-penalty", "seed", "stop")
"""All that there are."""
_STOPS = {"\n": "line break", "\n\n": "blank line"}
_NUMBERS: dict[str, tuple[str, float, float, float, str]] = {
    "temperature": ("Temperature", 0.0, 5.0, 0.1, "0 always takes the likeliest token (greedy)."),
    "max-tokens": ("Max tokens", 1, 32_768, 16, "The answer ends here at the latest."),
    "top-p": ("Top-p", 0.01, 1.0, 0.05, "Keep the likeliest tokens up to this share; 1 keeps all."),
    "top-k": ("Top-k", 0, 1_000, 10, "Keep the k likeliest tokens; 0 keeps all."),
    "repetition-penalty": ("Repetition penalty", 0.1, 5.0, 0.05, "Makes repeats less likely; 1 is off."),
    "seed": ("Seed", 0, 2**53 - 1, 1, "The same seed draws the same answer again."),
}


def choose_sampling(form: Form, settings: Sequence[str], *, disabled: bool) -> None:
    """The widgets of some settings."""
    with st.grid(2, min_column_width=110):
        for setting in settings:
            if setting in _NUMBERS:
                _choose_number(form, setting, disabled=disabled)
    if "stop" in settings:
        _choose_stops(form, disabled=disabled)


def choose_max_tokens(form: Form, *, least: int = 1) -> None:
    """How long an answer may get, as the labs ask for it."""
    help_text = "The answer is greedy, and ends here at the latest."
    _choose_number(form, "max-tokens", min_value=least, max_value=2_048, width=160, help=help_text)


def _choose_number(form: Form, setting: str, **changed: Any) -> None:
    label, least, most, step, help_text = _NUMBERS[setting]
    shown = {"min_value": least, "max_value": most, "step": step, "help": help_text, **changed}
    st.number_input(label, key=form.widget(setting), persist_state="session", **shown)


def _choose_stops(form: Form, *, disabled: bool) -> None:
    key = form.widget("stop")
    st.multiselect(
        "Stop strings",
        [*_STOPS, *(text for text in form.value("stop") if text not in _STOPS)],
        key=key,
        format_func=lambda text: _STOPS.get(text, text),
        accept_new_options=True,
        disabled=disabled,
        placeholder="None. Type one and press Enter",
        help="The answer ends before the first of these.",
        persist_state="session",
    )
