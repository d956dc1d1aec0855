"""What a session remembers of the Quantization lab: what is measured, on which corpus, and a prompt's comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import streamlit as st

from app.quantization.prompt_check import PromptCheck
from app.session.configuration import Form, first_installed
from app.session.options import ChosenOption

PROMPT = "lab-prompt"
CORPUS = ChosenOption("lab-corpus")

_PROMPT_CHECK = "lab-prompt-check"
_FIRST_PROMPT = "Why is the sky blue? Answer in three sentences."


def form(installed: Sequence[str]) -> Form:
    """The model, and the precision and length of a prompt's answer."""
    return Form("lab", first_installed(installed))


def prompt() -> str:
    """The prompt to compare; from now on the box holds it."""
    return st.session_state.setdefault(PROMPT, _FIRST_PROMPT) or ""


def prompt_check() -> PromptCheck | None:
    """What the lab last did, or does, with a prompt of this session."""
    return cast("PromptCheck | None", st.session_state.get(_PROMPT_CHECK))


def set_prompt_check(checked: PromptCheck) -> None:
    """Remember it."""
    st.session_state[_PROMPT_CHECK] = checked
