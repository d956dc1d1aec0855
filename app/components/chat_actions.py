"""What the Chat page's buttons do. They run as callbacks, so an error is remembered and told by the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import chat, chat_state, resources, state
from engine.errors import GearboxError, InvalidRequestError
from engine.types import RunConfig


@contextmanager
def _errors_remembered() -> Iterator[None]:
    chat_state.clear_refusal()
    try:
        yield
    except GearboxError as error:
        chat_state.refuse(str(error))


def send(config: RunConfig, system: str) -> None:
    """Ask what was typed in the open conversation, or in a new one."""
    with _errors_remembered():
        text = st.session_state[chat_state.INPUT] or ""
        chats = resources.get_store().chat
        conversation_id = chat_state.open_id()
        if conversation_id is None:
            if not text.strip():
                raise InvalidRequestError("The message is empty: type something to answer.")
            conversation_id = chats.create(chat.title_of(text), config.to_dict(), system)
            chat_state.open_conversation(conversation_id)
        _answer(conversation_id, chat.say(chats, chats.get(conversation_id), text))


def answer(conversation_id: str, asked_id: str) -> None:
    """Answer a turn, again if it has an answer."""
    with _errors_remembered():
        _answer(conversation_id, asked_id)


def answer_cold(conversation_id: str, asked_id: str, seed: int) -> None:
    """Answer a turn again with the same seed and nothing reused."""
    with _errors_remembered():
        _answer(conversation_id, asked_id, cold_seed=seed)


def save_edit(conversation_id: str, message_id: str, key: str) -> None:
    """Ask a turn in another wording."""
    with _errors_remembered():
        chats = resources.get_store().chat
        conversation = chats.get(conversation_id)
        message = next(message for message in conversation.messages if message.id == message_id)
        _answer(conversation_id, chat.edit(chats, conversation, message, st.session_state[key] or ""))


def show_branch(conversation_id: str, leaf_id: str) -> None:
    """Put the branch that ends with a message on view."""
    with _errors_remembered():
        chat_state.stop_editing()
        resources.get_store().chat.set_leaf(conversation_id, leaf_id)


def rename(conversation_id: str, key: str) -> None:
    """Give the conversation the title that was typed."""
    with _errors_remembered():
        resources.get_store().chat.rename(conversation_id, st.session_state[key] or "")


def delete(conversation_id: str) -> None:
    """Delete the conversation and turn to a new one."""
    with _errors_remembered():
        resources.get_store().chat.delete(conversation_id)
        chat_state.open_conversation(None)


def _answer(conversation_id: str, asked_id: str, *, cold_seed: int | None = None) -> None:
    store = resources.get_store()
    turn = chat.begin_turn(store, conversation_id, asked_id, salt=state.session_id(), cold_seed=cold_seed)
    chat_state.start_turn(turn)
