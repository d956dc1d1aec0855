"""The repository of conversations. A conversation is a tree, and only ever grows: editing a turn, answering it
anew and branching all add messages, and the branch on view is a choice among its leaves."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from app.store.chat_records import ChatMessage, Conversation, ConversationSummary, Speaker, TurnTiming
from app.store.chat_schema import ConversationMessage, ConversationRow, ConversationTiming
from app.store.errors import ConversationNotFoundError, GoneError, StoreError
from app.store.identity import new_id, now
from app.store.outbox import Outbox
from app.store.results import Result, Writer
from app.store.schema import Run, from_microseconds, to_microseconds
from app.store.session import Database

TITLE_CHARACTERS = 80
_ANSWER, _TIMING = "answer", "timing"


class ChatStore:
    """Keeps conversations, beside the runs. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox

    def create(self, title: str, config: Mapping[str, Any], system: str = "") -> str:
        """Begin a conversation without messages, and return its id.

        Args:
            title: what lists call it; cut to 80 characters.
            config: ``RunConfig.to_dict`` of what answers are asked for with.
            system: the system prompt; empty for none.
        """
        moment = now()
        row = ConversationRow(
            id=new_id(),
            title=title[:TITLE_CHARACTERS],
            created_at=moment,
            updated_at=moment,
            config=dict(config),
            system=system,
        )
        with self._database.write() as session:
            session.add(row)
            return row.id

    def conversations(self, *, limit: int = 50) -> tuple[ConversationSummary, ...]:
        """The conversations changed last, the newest first."""
        row = ConversationRow
        columns = select(row.id, row.title, row.created_at, row.updated_at)
        with self._database.read() as session:
            found = session.execute(columns.order_by(row.updated_at.desc(), row.id.desc()).limit(limit)).all()
        return tuple(ConversationSummary(**row._mapping) for row in found)

    def get(self, conversation_id: str) -> Conversation:
        """A conversation with every message of every branch, answers that wait to be written included.

        Raises:
            ConversationNotFoundError: there is none of that id.
        """
        message = ConversationMessage
        of_it = select(message).where(message.conversation_id == conversation_id).order_by(message.position)
        with self._database.read() as session:
            row = _existing(session, conversation_id)
            kept = Conversation(
                id=row.id,
                title=row.title,
                created_at=row.created_at,
                updated_at=row.updated_at,
                config=row.config,
                system=row.system,
                leaf_id=row.leaf_id,
                messages=tuple(_to_message(found) for found in session.scalars(of_it)),
            )
        for waiting in self._outbox.of_kind(_ANSWER):
            kept = _with_answer(kept, waiting.fields)
        return kept

    def append(
        self,
        conversation_id: str,
        parent_id: str | None,
        role: Speaker,
        content: str,
        *,
        token_ids: Sequence[int] = (),
        run_id: str | None = None,
    ) -> str:
        """Add a message after another, put its branch on view, and return its id.

        What a run wrote is added once: if it is there, nothing changes.

        Args:
            conversation_id: where.
            parent_id: the message it follows; ``None`` begins a branch of its own.
            role: who says it.
            content: what is said.
            token_ids: the tokens an answer was written in.
            run_id: the run that wrote it; one that was deleted meanwhile is left out.

        Raises:
            ConversationNotFoundError: the conversation was deleted.
            StoreError: the parent is no message of it.
        """
        with self._database.write() as session:
            return _append(session, new_id(), conversation_id, parent_id, role, content, token_ids, run_id)

    def keep_answer(
        self, conversation_id: str, parent_id: str, content: str, *, token_ids: Sequence[int], run_id: str
    ) -> None:
        """Add what a run has answered after a user's message, once, or let it wait until it can be added. Meanwhile
        `get` shows it.

        Raises:
            GoneError: the conversation or the message was deleted.
        """
        fields = {
            "message_id": new_id(),
            "conversation_id": conversation_id,
            "parent_id": parent_id,
            "content": content,
            "token_ids": list(token_ids),
            "run_id": run_id,
            "created_at": to_microseconds(now()),
        }
        self._outbox.keep(Result(_ANSWER, run_id, fields))

    def set_leaf(self, conversation_id: str, message_id: str) -> None:
        """Put the branch that ends with a message on view.

        Raises:
            ConversationNotFoundError: the conversation was deleted.
            StoreError: the message is none of it.
        """
        with self._database.write() as session:
            row = _existing(session, conversation_id)
            row.leaf_id = _existing_message(session, conversation_id, message_id).id

    def rename(self, conversation_id: str, title: str) -> None:
        """Give a conversation another title.

        Raises:
            ConversationNotFoundError: it was deleted.
            StoreError: the title is blank or longer than 80 characters.
        """
        title = " ".join(title.split())
        if not 0 < len(title) <= TITLE_CHARACTERS:
            raise StoreError(f"A title has 1 to {TITLE_CHARACTERS} characters.")
        with self._database.write() as session:
            _existing(session, conversation_id).title = title

    def configure(self, conversation_id: str, config: Mapping[str, Any], system: str) -> None:
        """Set what the next answers are asked for with; answers that are there stay as they are.

        Raises:
            ConversationNotFoundError: the conversation was deleted.
        """
        with self._database.write() as session:
            row = _existing(session, conversation_id)
            row.config, row.system = dict(config), system

    def keep_timing(self, conversation_id: str, message_id: str, setting: str, timing: TurnTiming) -> None:
        """Keep what a turn was measured at in a setting, in place of what it was measured at before.

        Args:
            conversation_id: where.
            message_id: the user's message that begins the turn.
            setting: at most 16 characters that stand for all that decides the figures.
            timing: the figures.

        Raises:
            StoreError: the message is gone.
        """
        fields = {
            "conversation_id": conversation_id,
            "message_id": message_id,
            "setting": setting,
            "created_at": to_microseconds(now()),
            **asdict(timing),
        }
        self._outbox.keep(Result(_TIMING, f"{message_id} {setting}", fields))

    def timings(self, conversation_id: str) -> dict[tuple[str, str], TurnTiming]:
        """What the turns of a conversation were measured at, by the user's message and the setting."""
        row = ConversationTiming
        of_it = select(row).join(ConversationMessage, ConversationMessage.id == row.message_id)
        with self._database.read() as session:
            found = session.scalars(of_it.where(ConversationMessage.conversation_id == conversation_id))
            return {
                (kept.message_id, kept.setting): TurnTiming(
                    ttft_s=kept.ttft_s,
                    prompt_tokens=kept.prompt_tokens,
                    cached_tokens=kept.cached_tokens,
                    environment=kept.environment,
                )
                for kept in found
            }

    def delete(self, conversation_id: str) -> None:
        """Delete a conversation with all its messages; the runs that wrote its answers stay."""
        with self._database.write() as session:
            session.execute(delete(ConversationRow).where(ConversationRow.id == conversation_id))


def _append(
    session: Session,
    message_id: str,
    conversation_id: str,
    parent_id: str | None,
    role: Speaker,
    content: str,
    token_ids: Sequence[int],
    run_id: str | None,
) -> str:
    row = _existing(session, conversation_id)
    if run_id and (there := session.scalar(_written_by(run_id, conversation_id))):
        return there
    if parent_id is not None:
        _existing_message(session, conversation_id, parent_id)
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


def _write_answer(session: Session, fields: Mapping[str, Any]) -> None:
    if session.get(ConversationMessage, fields["message_id"]):
        return
    _append(
        session,
        fields["message_id"],
        fields["conversation_id"],
        fields["parent_id"],
        "assistant",
        fields["content"],
        fields["token_ids"],
        fields["run_id"],
    )


def _with_answer(conversation: Conversation, fields: Mapping[str, Any]) -> Conversation:
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
    _existing_message(session, fields["conversation_id"], fields["message_id"])
    columns = {name: value for name, value in fields.items() if name != "conversation_id"}
    kept = ConversationTiming(**{**columns, "created_at": from_microseconds(fields["created_at"])})
    there = session.get(ConversationTiming, (kept.message_id, kept.setting))
    if there is None or there.created_at <= kept.created_at:
        session.merge(kept)


WRITERS: Mapping[str, Writer] = {_ANSWER: _write_answer, _TIMING: _write_timing}


def _written_by(run_id: str, conversation_id: str) -> Select[str]:
    message = ConversationMessage
    return select(message.id).where(message.run_id == run_id, message.conversation_id == conversation_id)


def _existing(session: Session, conversation_id: str) -> ConversationRow:
    row = session.get(ConversationRow, conversation_id)
    if row is None:
        raise ConversationNotFoundError(conversation_id)
    return row


def _existing_message(session: Session, conversation_id: str, message_id: str) -> ConversationMessage:
    message = session.get(ConversationMessage, message_id)
    if message is None or message.conversation_id != conversation_id:
        raise GoneError("This message is no longer part of the conversation. Open it again.")
    return message


def _to_message(row: ConversationMessage) -> ChatMessage:
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
