"""The conversations kept, and what can be done to the one that is open."""

from __future__ import annotations

import math
from functools import partial

import streamlit as st

from app.chat import conversations as chat
from app.literal import literal
from app.session import chat as chat_session
from app.store import ChatStore, Conversation, ConversationSummary
from app.units import counted
from app.views.chat import actions as chat_actions
from app.views.chat.bring import import_conversations
from app.views.runs.naming import CHAT_PATH, page_url

_LISTED = 25
_SEARCH = "chat-search"


def show_conversations(chats: ChatStore) -> None:
    """A button for a new conversation, a search, and a button for each conversation of the page turned to, the one
    changed last first."""
    opened = chat_session.open_id()
    st.button(
        "New chat",
        icon=":material/add:",
        key="chat-new",
        width="stretch",
        disabled=opened is None,
        on_click=chat_session.open_conversation,
        args=(None,),
    )
    if st.button(
        "Import",
        icon=":material/upload_file:",
        key="chat-import",
        width="stretch",
        type="tertiary",
        help="Conversations that another program, or Chat itself, exported.",
    ):
        import_conversations(chats)
    text = st.text_input(
        "Search conversations",
        type="search",
        live="300ms",
        icon=":material/search:",
        placeholder="Search titles and messages",
        label_visibility="collapsed",
        max_chars=200,
        key=_SEARCH,
        persist_state="session",
    )
    total = chats.count(text or "")
    page_key = f"chat-page-{text}"  # another search begins at its first page
    pages = max(1, math.ceil(total / _LISTED))
    number = min(st.session_state.get(page_key, 1), pages)
    first = (number - 1) * _LISTED
    listed = chats.conversations(text or "", limit=_LISTED, offset=first)
    st.caption(_counted(total, first, len(listed), searched=bool(text and text.strip())))
    if pages > 1:
        st.session_state[page_key] = number
        st.pagination(pages, key=page_key, max_visible_pages=3)
    with st.container(gap="xxsmall"):
        for conversation in listed:
            open_to_all = _is_open_to_all(chats, conversation)
            st.button(
                literal(conversation.title),
                key=f"chat-open-{conversation.id}",
                type="secondary" if conversation.id == opened else "tertiary",
                icon=":material/groups:" if open_to_all else None,
                help="Everybody can read this one, and go on with it." if open_to_all else None,
                on_click=chat_session.open_conversation,
                args=(conversation.id,),
            )


def _is_open_to_all(chats: ChatStore, conversation: ConversationSummary) -> bool:
    """Whether others can read a conversation too, where one's own are hidden from them."""
    return conversation.person_id is None and chats.viewer is not None and not chats.viewer.sees_all


def _counted(total: int, first: int, listed: int, *, searched: bool) -> str:
    """ "26 to 50 of 300 conversations", "1 conversation that holds this"."""
    if not total:
        return "No conversation holds this." if searched else "No conversations yet."
    part = f"{first + 1:,} to {first + listed:,} of " if listed < total else ""
    verb = "holds" if total == 1 else "hold"
    return f"{part}{counted(total, 'conversation')}{f' that {verb} this' if searched else ''}"


def show_menu(conversation: Conversation, *, disabled: bool) -> None:
    """Rename, link to it, export and delete."""
    with st.popover("Conversation", icon=":material/more_horiz:", key=f"chat-menu-{conversation.id}"):
        key = f"chat-title-{conversation.id}"
        st.session_state[key] = conversation.title  # another tab may have changed it
        st.text_input(
            "Title", key=key, max_chars=80, on_change=chat_actions.rename, args=(conversation.id, key), width=320
        )
        st.caption("Link to this conversation")
        st.code(page_url(CHAT_PATH, **{chat_session.QUERY_KEY: conversation.id}), language=None)
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
