"""The tables of the Chat page: conversations, each a tree of messages, and what replaying turns has measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText
from app.store.runs.schema import Run


class ConversationRow(Base):
    """What a list of conversations shows, and what the next answer is asked for with."""

    __tablename__ = "conversations"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    person_id: Mapped[str | None] = mapped_column(CleanText(32))
    """Whose it is; null for the desk."""
    title: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    config: Mapped[Any] = mapped_column(JsonText)
    system: Mapped[str]
    leaf_id: Mapped[str | None] = mapped_column(CleanText(32))
    """The last message of the branch on view. No foreign key: the two tables would need each other."""

    __table_args__ = (Index(None, "updated_at", "id"), Index(None, "person_id", "updated_at"))


class ConversationMessage(Base):
    """One message. Its siblings are other wordings of a turn, or other answers to it."""

    __tablename__ = "conversation_messages"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(ConversationRow.id, ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(
        CleanText(32), ForeignKey("conversation_messages.id", ondelete="CASCADE")
    )
    """What it follows; null for a first message."""
    position: Mapped[int]
    """Counts up within the conversation: the order in which messages were added."""
    role: Mapped[str] = mapped_column(CleanText(16))
    content: Mapped[str]
    token_ids: Mapped[bytes] = mapped_column(LargeBinary)
    run_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(Run.id, ondelete="SET NULL"))
    """The run that wrote an answer; null once that run is deleted."""
    created_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("role IN ('user', 'assistant')", name="role"),
        Index("uq_conversation_messages_position", "conversation_id", "position", unique=True),
        Index(None, "parent_id"),
        Index(None, "run_id"),
    )


class ConversationTiming(Base):
    """How long one turn waited for its first token, measured apart from its run in a setting."""

    __tablename__ = "conversation_timings"

    message_id: Mapped[str] = mapped_column(
        CleanText(32), ForeignKey(ConversationMessage.id, ondelete="CASCADE"), primary_key=True
    )
    """The user's message that begins the turn; what stands before it never changes."""
    setting: Mapped[str] = mapped_column(CleanText(16), primary_key=True)
    """Hash of all that decides the figures besides the messages."""
    created_at: Mapped[datetime]
    ttft_s: Mapped[float]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    environment: Mapped[Any] = mapped_column(JsonText)
