"""How messages get into conversations: the rows that `ChatStore` writes, and answers that wait to become some."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.store.chat.records import ChatMessage, Conversation, NewConversation, Speaker
from app.store.chat.schema import ConversationMessage, ConversationRow, ConversationTiming
from app.store.database.columns import from_microseconds
from app.store.database.errors import ConversationNotFoundError, GoneError
from app.store.database.identity import new_id, now
from app.store.outbox.results import Writer
from app.store.runs.schema import Run

ANSWER, TIMING = "answer", "timing"


def append(
    session: Session,
    message_id: str,
    conversation_id: str,
    parent_id: str | None,
    role: Speaker,
    content: str,
    token_ids: Sequence[int],
    run_id: str | None,
) -> str:
    """Add a message after another and put its branch on view; its id. What a run wrote is added once.

    Raises:
        GoneError: the conversation or the parent was deleted.
    """
    row = existing(session, conversation_id)
    if run_id and (there := session.scalar(_written_by(run_id, conversation_id))):
        return there
    if parent_id is not None:
        existing_message(session, conversation_id, parent_id)
    last = select(func.max(ConversationMessage.position)).where(ConversationMessage.conversation_id == conversation_id)
    message = ConversationMessage(
        id=message_id,
        conversation_id=conversation_id,
        parent_id=parent_id,
        position=(session.scalar(last) or 0) + 1,
        role=role,
        content=content,
        token_ids=_pack(token_ids),
        run_id=run_id if run_id and session.get(Run, run_id) else None,
        created_at=now(),
    )
    session.add(message)
    row.leaf_id, row.updated_at = message.id, message.created_at
    return message.id


def add_whole(session: Session, person_id: str | None, whole: NewConversation, title: str) -> str:
    """Add a conversation with all its messages; its id. It was changed now, whenever it began."""
    moment = now()
    row = ConversationRow(
        id=new_id(),
        person_id=person_id,
        title=title,
        created_at=whole.created_at or moment,
        updated_at=moment,
        config=dict(whole.config),
        system=whole.system,
    )
    session.add(row)
    session.flush()
    ids = [new_id() for _ in whole.messages]
    session.add_all(
        ConversationMessage(
            id=ids[place],
            conversation_id=row.id,
            parent_id=None if message.parent is None else ids[message.parent],
            position=place + 1,
            role=message.role,
            content=message.content,
            token_ids=_pack(message.token_ids),
            run_id=None,
            created_at=moment,
        )
        for place, message in enumerate(whole.messages)
    )
    row.leaf_id = ids[whole.leaf]
    return row.id


def _write_answer(session: Session, fields: Mapping[str, Any]) -> None:
    if session.get(ConversationMessage, fields["message_id"]):
        return
    append(
        session,
        fields["message_id"],
        fields["conversation_id"],
        fields["parent_id"],
        "assistant",
        fields["content"],
        fields["token_ids"],
        fields["run_id"],
    )


def with_answer(conversation: Conversation, fields: Mapping[str, Any]) -> Conversation:
    """A conversation with an answer that waits to be written, as it will stand in it."""
    known = {message.id for message in conversation.messages}
    if fields["conversation_id"] != conversation.id or fields["parent_id"] not in known:
        return conversation
    if any(message.run_id == fields["run_id"] for message in conversation.messages):
        return conversation
    answer = ChatMessage(
        id=fields["message_id"],
        parent_id=fields["parent_id"],
        role="assistant",
        content=fields["content"],
        token_ids=tuple(fields["token_ids"]),
        run_id=fields["run_id"],
        created_at=from_microseconds(fields["created_at"]),
    )
    return replace(conversation, messages=(*conversation.messages, answer), leaf_id=answer.id)


def _write_timing(session: Session, fields: Mapping[str, Any]) -> None:
    existing_message(session, fields["conversation_id"], fields["message_id"])
    columns = {name: value for name, value in fields.items() if name != "conversation_id"}
    kept = ConversationTiming(**{**columns, "created_at": from_microseconds(fields["created_at"])})
    there = session.get(ConversationTiming, (kept.message_id, kept.setting))
    if there is None or there.created_at <= kept.created_at:
        session.merge(kept)


def _written_by(run_id: str, conversation_id: str) -> Select[str]:
    message = ConversationMessage
    return select(message.id).where(message.run_id == run_id, message.conversation_id == conversation_id)


def existing(session: Session, conversation_id: str) -> ConversationRow:
    """The row of a conversation.

    Raises:
        ConversationNotFoundError: it was deleted.
    """
    row = session.get(ConversationRow, conversation_id)
    if row is None:
        raise ConversationNotFoundError(conversation_id)
    return row


def existing_message(session: Session, conversation_id: str, message_id: str) -> ConversationMessage:
    """The row of a message of a conversation.

    Raises:
        GoneError: it was deleted.
    """
    message = session.get(ConversationMessage, message_id)
    if message is None or message.conversation_id != conversation_id:
        raise GoneError("This message is no longer part of the conversation. Open it again.")
    return message


def to_message(row: ConversationMessage) -> ChatMessage:
    """The record of a message."""
    return ChatMessage(
        id=row.id,
        parent_id=row.parent_id,
        role="user" if row.role == "user" else "assistant",
        content=row.content,
        token_ids=_unpack(row.token_ids),
        run_id=row.run_id,
        created_at=row.created_at,
    )


def _pack(token_ids: Sequence[int]) -> bytes:
    """Deflated JSON; nothing for no tokens."""
    return zlib.compress(json.dumps(list(token_ids), separators=(",", ":")).encode()) if token_ids else b""


def _unpack(packed: bytes) -> tuple[int, ...]:
    return tuple(json.loads(zlib.decompress(packed))) if packed else ()


WRITERS: Mapping[str, Writer] = {ANSWER: _write_answer, TIMING: _write_timing}
