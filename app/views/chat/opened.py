"""The conversation that is open in this tab, and its turn that is being answered."""

from __future__ import annotations

import streamlit as st

from app.chat.conversations import Turn, keep_answer, recover_answer
from app.literal import literal
from app.session import chat as chat_session
from app.store import Conversation, ConversationNotFoundError, RunStore
from app.views.shared.errors import errors_shown


def read_opened(store: RunStore) -> tuple[Conversation | None, Turn | None]:
    """What the address names, as this tab shows it, and the turn that its branch ends with, where this person had it
    answered. Both are ``None`` for a new conversation.

    A conversation that is gone is told of. While this tab's own question in it is still being answered, there is a
    turn and no conversation.
    """
    chat_session.follow_address()
    opened = chat_session.open_id()
    if opened is None:
        return None, None
    try:
        conversation = chat_session.as_shown(store.chat.get(opened))
        turn = chat_session.turn_of(conversation.path())
        if turn and not turn.over.is_set():
            return conversation, turn
        _add_what_was_answered(store, conversation, turn)
        return chat_session.as_shown(store.chat.get(opened)), turn
    except ConversationNotFoundError as error:
        last = chat_session.last_turn_in(opened)
        if last and not last.over.is_set():
            return None, last
        if last is None or not last.homeless:
            st.warning(literal(str(error)), icon=":material/search_off:")
        chat_session.open_conversation(None)
        return None, None


def _add_what_was_answered(store: RunStore, conversation: Conversation, turn: Turn | None) -> None:
    """Keep and show an answer that has not come to the conversation yet."""
    if turn and not turn.kept:
        with errors_shown():
            keep_answer(store, turn)
    if turn and turn.answer_id:
        chat_session.keep_up(turn)
    elif (recovered := recover_answer(store, conversation)) and conversation.path()[-1].role == "user":
        chat_session.show(conversation.id, recovered)
