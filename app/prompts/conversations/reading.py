"""Which form of conversation a row of a file is, and all the conversations of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.prompts.conversations.apps import chatgpt, gearbox, lm_studio, open_webui
from app.prompts.conversations.said import ForeignConversation, conversation, in_a_row, spoken
from app.prompts.conversations.turns import body_of, openai, sharegpt
from app.prompts.tables import LeftOut, Table
from engine.errors import InvalidRequestError

Reader = Callable[[Mapping[str, Any]], ForeignConversation]
"""Reads a row. Raises ValueError, a clause, where nothing can be read of it."""

FORMS = ("Open WebUI", "LM Studio", "ChatGPT", "Gearbox", "OpenAI messages", "ShareGPT")
"""What is read."""


MOST_MESSAGES = 100_000
"""Of a file's conversations together: they are kept at once, while somebody waits."""


@dataclass(frozen=True, slots=True)
class Conversations:
    """What a file holds."""

    form: str
    """One of :data:`FORMS`."""
    conversations: tuple[ForeignConversation, ...]
    left_out: tuple[LeftOut, ...]


def conversation_form(row: Mapping[str, Any]) -> tuple[str, Reader] | None:
    """One of :data:`FORMS` and what reads it, by what a row has; ``None`` for any other."""
    chat = row.get("chat") if isinstance(row.get("chat"), dict) else row
    messages = row.get("messages")
    first = messages[0] if isinstance(messages, list) and messages and isinstance(messages[0], dict) else {}
    if isinstance(chat, dict) and (isinstance(chat.get("history"), dict) or chat is not row):
        return "Open WebUI", open_webui
    if isinstance(row.get("mapping"), dict):
        return "ChatGPT", chatgpt
    if "versions" in first:
        return "LM Studio", lm_studio
    if "parent_id" in first:
        return "Gearbox", gearbox
    if isinstance(body_of(row).get("messages"), list) or (body_of(row) is not row and "input" in body_of(row)):
        return "OpenAI messages", openai
    if isinstance(row.get("conversations"), list):
        return "ShareGPT", sharegpt
    return None


def read_as(form: str, row: Mapping[str, Any]) -> ForeignConversation:
    """A row as a conversation of a form.

    Raises:
        ValueError: it is none. The message is a clause.
    """
    found = conversation_form(row)
    if found is None or found[0] != form:
        raise ValueError(f"it is no conversation as {form} has them")
    return found[1](row)


def read_conversations(table: Table) -> Conversations:
    """The conversations of a file; those that cannot be read are left out, each with its reason.

    Args:
        table: the file: one conversation a row, or of a single one a message a row, with ``role`` and ``content``;
            a message that calls tools may have no ``content``.

    Raises:
        InvalidRequestError: it holds none.
    """
    rows = table.rows
    if all("role" in row.cells for row in rows) and any("content" in row.cells for row in rows):
        turns = [(row.text("role"), spoken(row.cells.get("content"))) for row in rows]
        try:
            return Conversations("OpenAI messages", (conversation("", in_a_row(turns)),), table.left_out)
        except ValueError as error:
            raise InvalidRequestError(f"This is no conversation: {error}.") from error
    form = conversation_form(rows[0].cells)
    if form is None:
        raise InvalidRequestError(f"There are no conversations in it. What is read: {', '.join(FORMS)}.")
    found: list[ForeignConversation] = []
    left_out = list(table.left_out)
    messages = 0
    for row in rows:
        if messages > MOST_MESSAGES:
            left_out.append(LeftOut(row.place, _BEYOND))
            continue
        try:
            read = read_as(form[0], row.cells)
        except ValueError as error:
            left_out.append(LeftOut(row.place, f"cannot be read, because {error}"))
            continue
        messages += len(read.messages)
        if messages > MOST_MESSAGES:
            left_out.append(LeftOut(row.place, _BEYOND))
        else:
            found.append(read)
    return Conversations(form[0], tuple(found), tuple(left_out))


_BEYOND = f"is beyond the first {MOST_MESSAGES:,} messages: divide the file, and import its parts one after the other"
