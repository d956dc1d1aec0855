"""What the Chat page's buttons do, each with what its own tab shows. They run as callbacks, so an error is remembered
and told by the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import resources
from app.chat import conversations as chat
from app.runs.race import HEAD_START_S
from app.session import chat as chat_session
from app.session.identity import person_id
from app.store import Conversation
from engine.errors import GearboxError, InvalidRequestError


@contextmanager
def _errors_remembered() -> Iterator[None]:
    chat_session.clear_refusal()
    try:
        yield
    except GearboxError as error:
        chat_session.refuse(str(error))


def send() -> None:
    """Ask what was typed in the open conversation, or in a new one. What cannot be sent stays in the box."""
    text = st.session_state[chat_session.INPUT] or ""
    sent = False
    with _errors_remembered():
        chats = resources.get_store().chat
        conversation_id = chat_session.open_id()
        if conversation_id is None:
            if not text.strip():
                raise InvalidRequestError("The message is empty: type something to answer.")
            settings = chat_session.settings(None)
            conversation_id = chats.create(chat.title_of(text), settings.config.to_dict(), settings.system)
            chat_session.open_conversation(conversation_id)
        conversation = _as_shown(conversation_id)
        asked_id = chat.say(chats, conversation, text)
        sent = True
        _answer(conversation, asked_id)
    if not sent and text.strip():
        st.session_state[chat_session.INPUT] = text


def answer(conversation_id: str, asked_id: str) -> None:
    """Answer a turn, again if it has an answer."""
    with _errors_remembered():
        _answer(_as_shown(conversation_id), asked_id)


def answer_cold(conversation_id: str, asked_id: str, seed: int) -> None:
    """Answer a turn again with the same seed and nothing reused."""
    with _errors_remembered():
        _answer(_as_shown(conversation_id), asked_id, cold_seed=seed)


def save_edit(conversation_id: str, message_id: str, key: str) -> None:
    """Ask a turn in another wording."""
    with _errors_remembered():
        conversation = _as_shown(conversation_id)
        message = next(message for message in conversation.messages if message.id == message_id)
        chats = resources.get_store().chat
        _answer(conversation, chat.edit(chats, conversation, message, st.session_state[key] or ""))


def show_branch(conversation_id: str, leaf_id: str) -> None:
    """Put the branch that ends with a message on view."""
    with _errors_remembered():
        chat_session.stop_editing()
        chat_session.show(conversation_id, leaf_id)
        resources.get_store().chat.set_leaf(conversation_id, leaf_id)


def rename(conversation_id: str, key: str) -> None:
    """Give the conversation the title that was typed."""
    with _errors_remembered():
        resources.get_store().chat.rename(conversation_id, st.session_state[key] or "")


def delete(conversation_id: str) -> None:
    """Delete the conversation and turn to a new one."""
    with _errors_remembered():
        resources.get_store().chat.delete(conversation_id)
        chat_session.open_conversation(None)


def _as_shown(conversation_id: str) -> Conversation:
    """A conversation with the branch and the settings of this tab."""
    conversation = chat_session.as_shown(resources.get_store().chat.get(conversation_id))
    return chat_session.settings(conversation).applied_to(conversation)


def _answer(conversation: Conversation, asked_id: str, *, cold_seed: int | None = None) -> None:
    chat_session.show(conversation.id, asked_id)
    store = resources.get_store()
    turn = chat.begin_turn(store, conversation, asked_id, salt=person_id(), cold_seed=cold_seed)
    chat_session.start_turn(turn)
    turn.over.wait(HEAD_START_S)  # drawing the whole thread again would take the processor from a short answer
