"""What a session remembers of its chats: which is open, what it shows of it, which turn it asked for last, what is
edited. A session is one tab: what another one does with the same conversation changes nothing here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import streamlit as st

from app import resources
from app.chat.conversations import Turn
from app.session.address import arrived
from app.session.configuration import DEFAULT_CONFIG, Form
from app.session.identity import person_id
from app.session.presets import put_gears
from app.store import ChatMessage, Conversation
from engine.types import CacheMode, OptimizationConfig, RunConfig

INPUT = "chat-input"
QUERY_KEY = "chat"
"""The query parameter that holds the id of the conversation that is open; without it, a new one is."""

NEW_SYSTEM = "chat-new-system"
"""The key of the system prompt's box of a conversation that has not begun."""

_OPEN = "chat-open"
_TURN = "chat-turn"
_EDITED = "chat-edited"
_REFUSAL = "chat-refusal"
_NOTICE = "chat-notice"
_VIEWS = "chat-views"

_FIRST = replace(DEFAULT_CONFIG, optimization=OptimizationConfig.at(DEFAULT_CONFIG.precision, CacheMode.PREFIX))


@dataclass(frozen=True, slots=True)
class Settings:
    """What answers are asked for with."""

    config: RunConfig
    system: str

    def applied_to(self, conversation: Conversation) -> Conversation:
        """A conversation with these settings, its configuration as JSON values, as the store gives it back."""
        return replace(conversation, config=json.loads(json.dumps(self.config.to_dict())), system=self.system)


@dataclass(slots=True)
class View:
    """What this session shows of one conversation."""

    leaf_id: str | None
    """The last message of its branch."""
    seen: set[str]
    """Messages that were shown here, or were there when the conversation was opened."""
    settings: Settings | None = None
    """As the widgets stood when they were last drawn."""


def form(conversation: Conversation | None) -> Form:
    """The configuration of a conversation as this tab's widgets are set; each conversation has widgets of its own."""
    first = RunConfig.from_dict(conversation.config) if conversation else _FIRST
    return Form(f"chat-{conversation.id if conversation else 'new'}", first)


def system_key(conversation: Conversation | None) -> str:
    """The key of the system prompt's box, which has its first value from now on."""
    key = form(conversation).key("system")
    st.session_state.setdefault(key, conversation.system if conversation else "")
    return key


def settings(conversation: Conversation | None) -> Settings:
    """What this tab's widgets are set to. What was not drawn yet is as the conversation has it.

    Raises:
        InvalidRequestError: a value is missing or out of range.
    """
    return Settings(form(conversation).config(), st.session_state[system_key(conversation)] or "")


def open_id() -> str | None:
    """The conversation that is open; ``None`` for a new one."""
    return cast("str | None", st.session_state.get(_OPEN))


def open_conversation(conversation_id: str | None) -> None:
    """Turn to a conversation, or with ``None`` to a new one. It has an address of its own."""
    if conversation_id:
        st.query_params[QUERY_KEY] = conversation_id
    else:
        st.query_params.pop(QUERY_KEY, None)
    st.session_state[_OPEN] = conversation_id
    _views().pop(conversation_id or "", None)  # opened anew, it is shown as it was last shown anywhere
    stop_editing()
    clear_refusal()


def begin_with(config: RunConfig, notice: str) -> None:
    """Turn to a new conversation with a configuration, from another page, and leave word of it for Chat. How tokens are
    sampled stays."""
    put_gears(form(None), config)
    open_conversation(None)
    leave_notice(notice)


def leave_notice(notice: str) -> None:
    """Leave word for the page's next drawing."""
    st.session_state[_NOTICE] = notice


def take_notice() -> str | None:
    """What was left word of, told once: that another page has set the new conversation to something."""
    return cast("str | None", st.session_state.pop(_NOTICE, None))


def follow_address() -> None:
    """Turn to the conversation that the address names: a link was opened, or Back or Forward was pressed.

    Whoever comes from another page by the menu, whose links name none, finds what was open here.
    """
    named = st.query_params.get(QUERY_KEY) or None
    opened = open_id()
    if named == opened:
        return
    if named is None and arrived():
        st.query_params[QUERY_KEY] = opened or ""
    else:
        open_conversation(named)


def as_shown(conversation: Conversation) -> Conversation:
    """A conversation as the store has it, with the branch that this session shows."""
    view = _view(conversation)
    view.seen.update(message.id for message in conversation.path(view.leaf_id))
    return replace(conversation, leaf_id=view.leaf_id)


def show(conversation_id: str, leaf_id: str) -> None:
    """Show the branch that ends with a message, which this session knows of from now on."""
    if view := _views().get(conversation_id):
        view.leaf_id = leaf_id
        view.seen.add(leaf_id)


def unseen(conversation: Conversation) -> tuple[ChatMessage, ...]:
    """What other sessions have added since this one looked, oldest first."""
    seen = _view(conversation).seen
    return tuple(message for message in conversation.messages if message.id not in seen)


def overlook(conversation: Conversation) -> None:
    """Stay with the branch shown here, and say no more of what others have added so far."""
    _view(conversation).seen.update(message.id for message in conversation.messages)


def settings_changed(conversation: Conversation, settings: Settings) -> bool:
    """Whether the widgets were set otherwise when they were last drawn in this session; remembers them as they are."""
    view = _view(conversation)
    before, view.settings = view.settings, settings
    return before is not None and before != settings


def keep_up(turn: Turn) -> None:
    """Show a turn's answer, if the session still shows the question."""
    view = _views().get(turn.conversation_id)
    if turn.answer_id and view and view.leaf_id == turn.asked_id:
        show(turn.conversation_id, turn.answer_id)


def turn_of(path: Sequence[ChatMessage]) -> Turn | None:
    """The turn that this person had answered last after the question that a branch ends with, over or not. It is found
    again from any tab. ``None`` where the branch ends otherwise."""
    if not path or path[-1].role != "user":
        return None
    return cast("Turn | None", resources.get_races().find(person_id(), path[-1].id))


def turn_behind(path: Sequence[ChatMessage]) -> Turn | None:
    """The turn that a branch ends with, or whose answer it ends with."""
    if not path or path[-1].role == "user":
        return turn_of(path)
    turn = turn_of(path[:-1])
    return turn if turn and turn.answer_id == path[-1].id else None


def last_turn() -> Turn | None:
    """The turn last asked for in this session, over or not."""
    return cast("Turn | None", st.session_state.get(_TURN))


def last_turn_in(conversation_id: str) -> Turn | None:
    """The same, if it is one of this conversation."""
    last = last_turn()
    return last if last and last.conversation_id == conversation_id else None


def start_turn(turn: Turn) -> None:
    """Have it answered, in the background.

    Raises:
        RaceRunsError: the same question is being answered already.
    """
    resources.get_races().start(
        turn,
        person=person_id(),
        place=turn.asked_id,
        engine=resources.get_engine(),
        store=resources.get_store(),
    )
    st.session_state[_TURN] = turn
    stop_editing()
    clear_refusal()


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


def _views() -> dict[str, View]:
    return cast("dict[str, View]", st.session_state.setdefault(_VIEWS, {}))


def _view(conversation: Conversation) -> View:
    """What is shown of it; at first the branch that was last put on view anywhere."""
    first = View(conversation.leaf_id, {message.id for message in conversation.messages})
    return _views().setdefault(conversation.id, first)
