"""What a conversation's next answer is asked for with: the configuration, and the system prompt."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app.session import chat as chat_session
from app.store import Conversation
from app.views.gears.editor import edit_conversation


def choose_settings(conversation: Conversation | None, installed: Sequence[str], *, disabled: bool) -> None:
    """The widgets; `chat_session.settings` reads them."""
    form = chat_session.form(conversation)
    with st.popover("Settings", icon=":material/tune:", key=form.key("settings")):
        edit_conversation(form, installed, disabled=disabled)
        st.text_area(
            "System prompt",
            key=chat_session.system_key(conversation),
            height=90,
            disabled=disabled,
            placeholder="How the model should behave. Empty: the model's own default.",
            help="It stands before everything else, so a change makes the next turn read all of it anew.",
            persist_state="session",
        )
