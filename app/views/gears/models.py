"""The widget that chooses a model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import streamlit as st

from app import resources
from app.session.configuration import Form
from engine.errors import GearboxError


def answering(installed: Sequence[str]) -> list[str]:
    """Whom a prompt can be given to: the installed models, and those of servers."""
    with suppress(GearboxError):  # told of elsewhere: no database
        return [*installed, *resources.get_remote_models().names()]
    return list(installed)


def choose_model(
    form: Form,
    installed: Sequence[str],
    *,
    typed: bool = False,
    help: str | None = None,
    width: int | Literal["stretch"] = "stretch",
    disabled: bool = False,
    in_address: bool = False,
) -> str:
    """An installed model, the one that is set already, or where it may be ``typed`` any folder or hub id; its name,
    blank where there is none. ``in_address`` says that the page's address carries it."""
    key = form.widget("model")
    chosen = form.value("model")
    st.selectbox(
        "Model",
        list(dict.fromkeys([*installed, *([chosen] if chosen else [])])),
        key=key,
        accept_new_options=typed,
        disabled=disabled,
        placeholder="Choose a model, or type a folder or hub id" if typed else "Choose a model",
        help=help,
        width=width,
        bind="query-params" if in_address else None,
        persist_state="session",
    )
    return form.model
