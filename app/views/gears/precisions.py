"""The precisions a model can be held in: which there are, what each is, and the widgets that choose some."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import resources
from app.session.configuration import Form
from engine.types import Precision, precisions_on


def offered_precisions() -> tuple[Precision, ...]:
    """What a model can be held in where the engine runs, 16 bits first. A GPU is known from the first request on."""
    return precisions_on(resources.get_engine().status().device)


def quantized_precisions() -> tuple[Precision, ...]:
    """Of these, all but 16 bits."""
    return tuple(precision for precision in offered_precisions() if precision is not Precision.BF16)


def precision_help() -> str:
    """What each of them is, as a list in Markdown."""
    return "\n".join(f"- **{precision}**: {precision.info.help}" for precision in offered_precisions())


def choose_precision(
    form: Form, offered: Sequence[Precision], *, disabled: bool = False, in_address: bool = False
) -> None:
    """One of those offered, or the one that is set already. ``in_address`` says that the page's address carries it."""
    key = form.widget("precision")
    st.segmented_control(
        "Precision",
        list(dict.fromkeys([*offered, form.value("precision")])),
        key=key,
        required=True,
        format_func=str,
        disabled=disabled,
        help=precision_help(),
        bind="query-params" if in_address else None,
        persist_state="session",
    )


def choose_precisions(key: str, offered: Sequence[Precision], help: str = "", *, disabled: bool) -> list[Precision]:
    """Any of those offered; at first all."""
    return st.multiselect(
        "Precisions",
        offered,
        default=offered,
        key=key,
        format_func=str,
        disabled=disabled,
        help=f"{help}\n\n{precision_help()}".strip(),
        persist_state="session",
    )
