"""The conversations kept, and what can be done to the one that is open."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import chat, chat_state
from app.components import chat_actions
from app.literal import literal
from app.store import ChatStore, Conversation
from app.units import counted

_LISTED = 50


def show_conversations(chats: ChatStore) -> None:
    """A button for a new conversation, and one for each that is there, the one changed last first."""
    opened = chat_state.open_id()
    st.button(
        "New chat",
        icon=":material/add:",
        key="chat-new",
        width="stretch",
        disabled=opened is None,
        on_click=chat_state.open_conversation,
        args=(None,),
    )
    listed = chats.conversations(limit=_LISTED)
    for conversation in listed:
        st.button(
            literal(conversation.title),
            key=f"chat-open-{conversation.id}",
            type="secondary" if conversation.id == opened else "tertiary",
            on_click=chat_state.open_conversation,
            args=(conversation.id,),
        )
    if len(listed) == _LISTED:
        st.caption(f"The latest {_LISTED} conversations.")


def show_menu(conversation: Conversation, *, disabled: bool) -> None:
    """Rename, export and delete."""
    with st.popover("Conversation", icon=":material/more_horiz:", key=f"chat-menu-{conversation.id}"):
        key = f"chat-title-{conversation.id}"
        st.session_state.setdefault(key, conversation.title)
        st.text_input(
            "Title", key=key, max_chars=80, on_change=chat_actions.rename, args=(conversation.id, key), width=320
        )
        st.download_button(
            "Export as JSON",
            partial(chat.to_json, conversation),
            file_name="gearbox-chat.json",
            mime="application/json",
            icon=":material/download:",
            help="The whole conversation, with every branch, and the tokens and the run of every answer.",
            on_click="ignore",
            key="chat-export-json",
        )
        st.download_button(
            "Export as JSONL",
            partial(chat.to_jsonl, conversation),
            file_name="gearbox-chat.jsonl",
            mime="application/jsonl",
            icon=":material/download:",
            help="The branch on view, one object a message.",
            on_click="ignore",
            key="chat-export-jsonl",
        )
        if st.button("Delete", icon=":material/delete:", key="chat-delete", disabled=disabled):
            confirm_delete(conversation)


@st.dialog("Delete this conversation?", icon=":material/delete:")
def confirm_delete(conversation: Conversation) -> None:
    """Ask before deleting."""
    st.write(
        f"“{literal(conversation.title)}” will be deleted with {counted(len(conversation.messages), 'message')}, on "
        "every branch. This cannot be undone. The runs that wrote its answers stay."
    )
    if st.button(
        "Delete conversation",
        type="primary",
        key="chat-confirm-delete",
        on_click=chat_actions.delete,
        args=(conversation.id,),
    ):
        st.rerun()
