"""What a session remembers of its chats: which is open, which turn is being answered, what is edited."""

from __future__ import annotations

from typing import cast

import streamlit as st

from app.chat import Turn

INPUT = "chat-input"

_OPEN = "chat-open"
_TURN = "chat-turn"
_EDITED = "chat-edited"
_REFUSAL = "chat-refusal"


def open_id() -> str | None:
    """The conversation that is open; ``None`` for a new one."""
    return cast("str | None", st.session_state.get(_OPEN))


def open_conversation(conversation_id: str | None) -> None:
    """Turn to a conversation, or with ``None`` to a new one."""
    st.session_state[_OPEN] = conversation_id
    stop_editing()
    clear_refusal()


def turn() -> Turn | None:
    """The turn last asked for, over or not."""
    return cast("Turn | None", st.session_state.get(_TURN))


def start_turn(turn: Turn) -> None:
    """Line it up: the next script run streams it."""
    st.session_state[_TURN] = turn
    stop_editing()
    clear_refusal()


def running() -> bool:
    """Whether a turn of the open conversation waits to be streamed by this script run."""
    last = turn()
    return last is not None and not last.race.claimed and last.conversation_id == open_id()


def edited_id() -> str | None:
    """The message whose wording is being changed."""
    return cast("str | None", st.session_state.get(_EDITED))


def start_editing(message_id: str) -> None:
    """Open a message for another wording."""
    st.session_state[_EDITED] = message_id


def stop_editing() -> None:
    """Leave it as it is."""
    st.session_state.pop(_EDITED, None)


def refusal() -> str | None:
    """Why the last thing asked for could not be done, for the user."""
    return cast("str | None", st.session_state.get(_REFUSAL))


def refuse(why: str) -> None:
    """Remember it until something else is asked for."""
    st.session_state[_REFUSAL] = why


def clear_refusal() -> None:
    """It is settled."""
    st.session_state.pop(_REFUSAL, None)
