"""The same conversation in another tab: what it added there is told of here, and never changes what is shown here."""

from __future__ import annotations

import streamlit as st

from app import resources
from app.chat import conversations as chat
from app.chat.conversations import Turn
from app.session import chat as chat_session
from app.store import ChatMessage, Conversation
from app.units import counted
from app.views.chat import actions as chat_actions
from app.views.runs.naming import link_to_run
from app.views.shared.errors import errors_shown

_LOOK_EVERY = "5s"


def show_other_tabs(conversation: Conversation, asked: ChatMessage | None, *, elsewhere: bool) -> None:
    """Say what other tabs have added to a conversation, with the way there, and go on looking.

    Args:
        conversation: all of it, as this tab shows it.
        asked: the question that its branch ends with, if it does.
        elsewhere: another tab is being answered that question.
    """
    if added := chat_session.unseen(conversation):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(
                f"This conversation went on in another tab: {counted(len(added), 'message')} you have not seen here.",
                icon=":material/tab:",
                width="stretch",
            )
            st.button(
                "Show it",
                key="chat-other-tab",
                on_click=chat_actions.show_branch,
                args=(conversation.id, conversation.newest_leaf(added[-1].id)),
            )
            st.button(
                "Stay here",
                key="chat-stay",
                type="tertiary",
                help="Go on with the branch that is shown. The other one stays too.",
                on_click=chat_session.overlook,
                args=(conversation,),
            )
    st.fragment(_watch, run_every=_LOOK_EVERY)(conversation, asked, elsewhere)


def _watch(conversation: Conversation, asked: ChatMessage | None, elsewhere: bool) -> None:
    """Draw the page again once another tab has changed the conversation."""
    with errors_shown():
        store = resources.get_store()
        changed = store.chat.state_of(conversation.id) != (conversation.title, len(conversation.messages))
        if changed or (asked is not None and chat.is_being_answered(store, asked.id) != elsewhere):
            st.rerun()


def show_homeless(turn: Turn) -> None:
    """What was being answered when its conversation was deleted."""
    st.warning(
        "This conversation was deleted in another tab while it was being answered. What was written of the answer is "
        "kept among the runs.",
        icon=":material/delete:",
    )
    link_to_run(turn.lane.run_id or "")
