"""What a session remembers of the Speculation lab: who drafts for what, and a prompt's drafts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import streamlit as st

from app.session.configuration import Form, first_installed
from app.speculation.drafted_prompt import DraftedPrompt
from engine.types import Drafter, OptimizationConfig, SpeculationConfig

PROMPT = "speculation-prompt"
_DRAFTED_PROMPT = "speculation-drafted-prompt"


def form(installed: Sequence[str]) -> Form:
    """The model and its precision, who drafts for it, and the length of a prompt's answer."""
    first, drafter = first_installed(installed), SpeculationConfig(drafter=Drafter.NGRAM)
    gears = OptimizationConfig.at(first.precision, speculation=drafter)
    return Form("speculation", replace(first, optimization=gears))


def prompt(first: str) -> str:
    """The prompt to draft for; from now on the box holds it."""
    return st.session_state.setdefault(PROMPT, first) or ""


def use_prompt(prompt: str) -> None:
    """Put a prompt into the box."""
    st.session_state[PROMPT] = prompt


def drafted_prompt() -> DraftedPrompt | None:
    """What the lab last did, or does, with a prompt of this session."""
    return cast("DraftedPrompt | None", st.session_state.get(_DRAFTED_PROMPT))


def set_drafted_prompt(shown: DraftedPrompt) -> None:
    """Remember it."""
    st.session_state[_DRAFTED_PROMPT] = shown
