"""Who drafts, and how much: the widgets of the speculation gear."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import streamlit as st

from app import resources, units
from app.literal import literal
from app.session.configuration import Form
from app.speculation.drafter_choices import choice_of
from app.speculation.drafters import WITHOUT_WEIGHTS, drafter_keys, drafter_label, drafters_help
from engine.errors import GearboxError
from engine.types import MAX_GAMMA, DrafterChoice, Precision

_REFRESH_EVERY = "1s"


def choose_drafter(form: Form, installed: Sequence[str], *, disabled: bool) -> None:
    """The drafter and γ, and what is known of the drafter."""
    key = form.widget("drafter")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Drafter",
            list(dict.fromkeys([*drafter_keys(form.model, installed), form.value("drafter")])),
            key=key,
            format_func=drafter_label,
            disabled=disabled,
            help=drafters_help(),
            persist_state="session",
        )
        st.number_input(
            "Drafted tokens (γ)",
            min_value=0,
            max_value=MAX_GAMMA,
            step=1,
            placeholder="Auto",
            key=form.widget("gamma"),
            disabled=disabled,
            help="Tokens drafted before each verification. Empty: the controller chooses, and pauses where drafting "
            "costs more than it saves.",
            persist_state="session",
        )
    _show_fitness(form, follow=not disabled)


def _show_fitness(form: Form, *, follow: bool) -> None:
    """Whether a model can draft, and what is to be expected; to ``follow``, drawn again until the engine has told."""
    key, model, precision = form.value("drafter"), form.model, form.precision
    if key in WITHOUT_WEIGHTS or not model:
        return

    def draw() -> None:
        with suppress(GearboxError):
            choices = resources.get_drafter_choices().of(model, precision)
            if choices is None:
                st.caption(":material/hourglass_empty: Asking the engine whether it can draft")
            elif choice := choice_of(key, model, choices):
                st.caption(_fitness(choice))

    with suppress(GearboxError):
        waiting = resources.get_drafter_choices().of(model, precision) is None
        st.fragment(draw, run_every=_REFRESH_EVERY if waiting and follow else None)()


def _fitness(choice: DrafterChoice) -> str:
    """What is known of a drafter, in words."""
    if choice.why_not:
        return f":red[{literal(choice.why_not)}]"
    if choice.relative_cost is None or choice.expected_speedup is None:
        return ""
    how = "measured" if choice.cost_is_measured else "estimated"
    return (
        f"A drafted token costs {units.percent(choice.relative_cost)} of the model's own ({how}). Expected, if "
        f"{units.percent(choice.expected_acceptance)} are accepted: {units.ratio(choice.expected_speedup)} as fast."
    )


def offered_drafters(model: str, precision: Precision, installed: Sequence[str]) -> list[str]:
    """The keys of all drafters that may suit a model: those that the engine has refused are left out.

    While the engine has not told, the page is drawn again every second.
    """
    choices = resources.get_drafter_choices().of(model, precision)
    if choices is None:
        st.fragment(_redraw_when_known, run_every=_REFRESH_EVERY)(model, precision)
        return list(WITHOUT_WEIGHTS)
    keys = drafter_keys(model, installed)
    known = {key: choice_of(key, model, choices) for key in keys}
    return [key for key, choice in known.items() if key in WITHOUT_WEIGHTS or (choice and not choice.why_not)]


def _redraw_when_known(model: str, precision: Precision) -> None:
    with suppress(GearboxError):
        if resources.get_drafter_choices().of(model, precision) is not None:
            st.rerun()
    st.caption(":material/hourglass_empty: Asking the engine which models can draft")
