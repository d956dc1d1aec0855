"""What the chats' side of the store hands out: frozen conversations, and the tree that each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from engine.types import Message

Speaker = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """One message of a conversation."""

    id: str
    parent_id: str | None
    """What it follows; ``None`` for a first message."""
    role: Speaker
    content: str
    token_ids: tuple[int, ...]
    """The tokens an answer was written in; empty for what a person typed."""
    run_id: str | None
    """The run that wrote it; ``None`` for what a person typed, and where that run was deleted."""
    created_at: datetime

    def to_message(self) -> Message:
        """As the engine takes it."""
        return Message(self.role, self.content, self.token_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """One message of a conversation that is kept at once."""

    role: Speaker
    content: str
    parent: int | None
    """The place of what it follows, which stands before it; ``None`` for a first message."""
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversation:
    """A whole conversation to be kept at once, with all its branches."""

    title: str
    config: Mapping[str, Any]
    """``RunConfig.to_dict`` of what the next answer is asked for with."""
    system: str
    messages: tuple[NewMessage, ...]
    leaf: int
    """The place of the last message of the branch on view."""
    created_at: datetime | None = None
    """``None`` is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTiming:
    """How long a turn waited for its first token, measured apart from its run."""

    ttft_s: float
    """Queueing left out."""
    prompt_tokens: int
    cached_tokens: int
    """Prompt tokens whose KV was reused."""
    environment: Mapping[str, Any]
    """What the figures hold for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """One conversation as a list shows it."""

    id: str
    person_id: str | None
    """Whose it is; ``None`` for the desk."""
    title: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation(ConversationSummary):
    """All of a conversation: a tree of messages of which one branch is on view."""

    config: Mapping[str, Any]
    """`RunConfig.to_dict` of what the next answer is asked for with; `RunConfig.from_dict` turns it back."""
    system: str
    leaf_id: str | None
    """The last message of the branch on view; ``None`` while there is no message."""
    messages: tuple[ChatMessage, ...]
    """Every message of every branch, in the order they were added: a parent comes before its children."""

    def path(self, leaf_id: str | None = None) -> tuple[ChatMessage, ...]:
        """The messages from a first one to a leaf, by default that of the branch on view.

        Raises:
            KeyError: there is no such message.
        """
        by_id = {message.id: message for message in self.messages}
        branch: list[ChatMessage] = []
        at = leaf_id or self.leaf_id
        while at is not None:
            branch.append(by_id[at])
            at = branch[-1].parent_id
        return tuple(reversed(branch))

    def children(self, message_id: str | None) -> tuple[ChatMessage, ...]:
        """What follows a message directly, oldest first; the first messages for ``None``."""
        return tuple(message for message in self.messages if message.parent_id == message_id)

    def siblings(self, message: ChatMessage) -> tuple[ChatMessage, ...]:
        """A message among those that stand in its place on other branches, oldest first."""
        return self.children(message.parent_id)

    def newest_leaf(self, message_id: str) -> str:
        """The end of the branch that goes through a message and then each time through the newest child."""
        while following := self.children(message_id):
            message_id = following[-1].id
        return message_id
