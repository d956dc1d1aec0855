"""Conversations from a file, kept as conversations of Chat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.chat.conversations import title_of
from app.prompts.conversations.reading import Conversations, read_conversations
from app.prompts.conversations.said import ForeignConversation
from app.prompts.tables import read_table
from app.store import ChatStore, NewConversation, NewMessage
from engine.types import RunConfig


def read_file(name: str, data: bytes) -> Conversations:
    """The conversations of a file.

    Args:
        name: of the file; its ending says what it is.
        data: its bytes.

    Raises:
        InvalidRequestError: it cannot be read, or holds none.
    """
    return read_conversations(read_table(name, data, of="conversations"))


def title_in_chat(conversation: ForeignConversation) -> str:
    """What it is called: its own title, or how it begins."""
    return conversation.title or title_of(conversation.messages[0].content)


def keep_conversations(
    chats: ChatStore, conversations: Sequence[ForeignConversation], config: RunConfig
) -> tuple[str, ...]:
    """Keep conversations as the viewer's, with all their branches; their ids.

    Args:
        chats: keeps them.
        conversations: from a file.
        config: what the next answer is asked for with, where a file does not say that.

    Raises:
        StoreError: they could not be kept; none of them is.
    """
    usual: Mapping[str, Any] = json.loads(json.dumps(config.to_dict()))
    return chats.add(
        [
            NewConversation(
                title=title_in_chat(each),
                config=_config_of(each) or usual,
                system=each.system,
                messages=tuple(
                    NewMessage(role=said.role, content=said.content, parent=said.parent, token_ids=said.token_ids)
                    for said in each.messages
                ),
                leaf=each.leaf,
                created_at=each.created_at,
            )
            for each in conversations
        ]
    )


def _config_of(conversation: ForeignConversation) -> Mapping[str, Any] | None:
    """The file's own, if it is one that this version can read."""
    if conversation.config is None:
        return None
    try:
        return RunConfig.from_dict(conversation.config).to_dict()
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
