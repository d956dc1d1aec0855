"""A choice that the page's address names."""

from __future__ import annotations

from collections.abc import Callable, Collection

import streamlit as st

from app.session.options import ChosenOption


def choose_named(
    label: str,
    options: Collection[str],
    chosen: ChosenOption,
    *,
    first: str | None = None,
    shown: Callable[[str], str] = str,
    help: str | None = None,
) -> str:
    """One of some options in a row. It lasts for the session, and the page's address names it.

    Args:
        label: of the choice; shown only where there is a hint to it.
        options: what there is.
        chosen: what remembers it.
        first: what it begins with, if that is not the first of them.
        shown: an option for the reader, as Markdown.
        help: a hint.
    """
    chosen.prepare(options, first)
    option = st.segmented_control(
        label,
        list(options),
        format_func=shown,
        key=chosen.key,
        required=True,
        help=help,
        label_visibility="visible" if help else "collapsed",
        persist_state="session",
    )
    chosen.into_address()
    return str(option)
