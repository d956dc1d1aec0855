"""How errors that a user can act on reach the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app.literal import literal
from engine.errors import GearboxError


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error meant for the user where it happened, and go on after the block.

    Callbacks, fragments and dialogs need their own: they run outside the page's script.
    """
    try:
        yield
    except GearboxError as error:
        show_error(error)


def show_error(error: GearboxError | str) -> None:
    """What went wrong, in words that may quote anything: shown as they are, not as Markdown."""
    st.error(literal(str(error)), icon=":material/error:")
