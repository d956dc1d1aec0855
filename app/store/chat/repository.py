"""The repository of conversations. A conversation is a tree, and only ever grows: editing a turn, answering it
anew and branching all add messages, and the branch on view is a choice among its leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.store.chat.records import Conversation, ConversationSummary, NewConversation, Speaker, TurnTiming
from app.store.chat.schema import ConversationMessage, ConversationRow, ConversationTiming
from app.store.chat.writing import (
    ANSWER,
    TIMING,
    add_whole,
    append,
    existing,
    existing_message,
    to_message,
    with_answer,
)
from app.store.database.columns import to_microseconds
from app.store.database.errors import ConversationOfAnotherError, StoreError
from app.store.database.folding import fold, folded
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.outbox.outbox import Outbox
from app.store.outbox.results import Result
from app.store.people.visibility import Seen, own, visible

TITLE_CHARACTERS = 80


class ChatStore(Seen):
    """Keeps conversations, beside the runs. Safe to share between threads. Others' are refused.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox

    def create(self, title: str, config: Mapping[str, Any], system: str = "") -> str:
        """Begin a conversation of the viewer's, without messages, and return its id. The application's is the desk's.

        Args:
            title: what lists call it; cut to 80 characters.
            config: ``RunConfig.to_dict`` of what answers are asked for with.
            system: the system prompt; empty for none.
        """
        moment = now()
        row = ConversationRow(
            id=new_id(),
            person_id=self._viewer.person_id if self._viewer else None,
            title=title[:TITLE_CHARACTERS],
            created_at=moment,
            updated_at=moment,
            config=dict(config),
            system=system,
        )
        with self._database.write() as session:
            session.add(row)
            return row.id

    def add(self, conversations: Sequence[NewConversation]) -> tuple[str, ...]:
        """Keep whole conversations as the viewer's, all of them or none; their ids.

        Args:
            conversations: titles are cut to 80 characters.
        """
        person_id = self._viewer.person_id if self._viewer else None
        with self._database.write() as session:
            return tuple(add_whole(session, person_id, each, each.title[:TITLE_CHARACTERS]) for each in conversations)

    def conversations(self, text: str = "", *, limit: int = 50, offset: int = 0) -> tuple[ConversationSummary, ...]:
        """The conversations changed last, the newest first: the viewer's own and the desk's.

        Args:
            text: only those in whose title or messages it stands, whatever its case and accents.
            limit: at most so many.
            offset: so many newer ones are left out.
        """
        row = ConversationRow
        columns = select(row.id, row.person_id, row.title, row.created_at, row.updated_at).where(*self._listed(text))
        newest_first = columns.order_by(row.updated_at.desc(), row.id.desc()).limit(limit).offset(offset)
        with self._database.read() as session:
            found = session.execute(newest_first).all()
        return tuple(ConversationSummary(**row._mapping) for row in found)

    def count(self, text: str = "") -> int:
        """How many there are, or how many hold a text as :meth:`conversations` finds them."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(ConversationRow).where(*self._listed(text))) or 0

    def state_of(self, conversation_id: str) -> tuple[str, int] | None:
        """The title and the number of messages: what tells soon whether another tab has changed it. ``None`` once it
        is deleted."""
        messages = select(func.count()).where(ConversationMessage.conversation_id == conversation_id).scalar_subquery()
        with self._database.read() as session:
            found = session.execute(
                select(ConversationRow.title, messages).where(
                    ConversationRow.id == conversation_id, *visible(ConversationRow.person_id, self._viewer)
                )
            ).first()
        return (found[0], found[1]) if found else None

    def get(self, conversation_id: str) -> Conversation:
        """A conversation with every message of every branch, answers that wait to be written included.

        Raises:
            ConversationNotFoundError: there is none of that id.
            ConversationOfAnotherError: the viewer may not see it. So says whatever here shows or changes one.
        """
        message = ConversationMessage
        of_it = select(message).where(message.conversation_id == conversation_id).order_by(message.position)
        with self._database.read() as session:
            row = self._existing(session, conversation_id)
            kept = Conversation(
                id=row.id,
                person_id=row.person_id,
                title=row.title,
                created_at=row.created_at,
                updated_at=row.updated_at,
                config=row.config,
                system=row.system,
                leaf_id=row.leaf_id,
                messages=tuple(to_message(found) for found in session.scalars(of_it)),
            )
        for waiting in self._outbox.of_kind(ANSWER):
            kept = with_answer(kept, waiting.fields)
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
            self._existing(session, conversation_id)
            return append(session, new_id(), conversation_id, parent_id, role, content, token_ids, run_id)

    def keep_answer(
        self, conversation_id: str, parent_id: str, content: str, *, token_ids: Sequence[int], run_id: str
    ) -> str:
        """Add what a run has answered after a user's message, once, or let it wait until it can be added. Meanwhile
        `get` shows it. Returns the message's id.

        Raises:
            GoneError: the conversation or the message was deleted.
        """
        message_id = new_id()
        fields = {
            "message_id": message_id,
            "conversation_id": conversation_id,
            "parent_id": parent_id,
            "content": content,
            "token_ids": list(token_ids),
            "run_id": run_id,
            "created_at": to_microseconds(now()),
        }
        self._outbox.keep(Result(ANSWER, run_id, fields))
        kept = (message.id for message in self.get(conversation_id).messages if message.run_id == run_id)
        return next(kept, message_id)

    def set_leaf(self, conversation_id: str, message_id: str) -> None:
        """Put the branch that ends with a message on view.

        Raises:
            ConversationNotFoundError: the conversation was deleted.
            StoreError: the message is none of it.
        """
        with self._database.write() as session:
            row = self._existing(session, conversation_id)
            row.leaf_id = existing_message(session, conversation_id, message_id).id

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
            self._existing(session, conversation_id).title = title

    def configure(self, conversation_id: str, config: Mapping[str, Any], system: str) -> None:
        """Set what the next answers are asked for with; answers that are there stay as they are.

        Raises:
            ConversationNotFoundError: the conversation was deleted.
        """
        with self._database.write() as session:
            row = self._existing(session, conversation_id)
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
        self._outbox.keep(Result(TIMING, f"{message_id} {setting}", fields))

    def timings(self, conversation_id: str) -> dict[tuple[str, str], TurnTiming]:
        """What the turns of a conversation were measured at, by the user's message and the setting."""
        row = ConversationTiming
        of_it = (
            select(row)
            .join(ConversationMessage, ConversationMessage.id == row.message_id)
            .join(ConversationRow, ConversationRow.id == ConversationMessage.conversation_id)
            .where(*visible(ConversationRow.person_id, self._viewer))
        )
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
            if session.get(ConversationRow, conversation_id):
                session.delete(self._existing(session, conversation_id))

    def _listed(self, text: str) -> list[ColumnElement[bool]]:
        return [*_mentions(text), *own(ConversationRow.person_id, self._viewer)]

    def _existing(self, session: Session, conversation_id: str) -> ConversationRow:
        row = existing(session, conversation_id)
        if self._viewer and not self._viewer.may_see(row.person_id):
            raise ConversationOfAnotherError(conversation_id)
        return row


def _mentions(text: str) -> list[ColumnElement[bool]]:
    """That a conversation holds a text, as a condition on `ConversationRow`; none for no text."""
    needle = fold(text.strip())
    if not needle:
        return []
    message = ConversationMessage
    holding = select(message.conversation_id).where(folded(message.content).contains(needle, autoescape=True))
    in_title = folded(ConversationRow.title).contains(needle, autoescape=True)
    return [or_(in_title, ConversationRow.id.in_(holding))]
