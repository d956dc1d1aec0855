"""Conversations as lists of turns: OpenAI's messages, by themselves or in the calls of a batch, and ShareGPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.prompts.conversations.said import ForeignConversation, conversation, in_a_row, spoken


def openai(row: Mapping[str, Any]) -> ForeignConversation:
    """A row with ``messages``, or a call of a batch: of chat completions, or of responses with ``input`` and
    ``instructions``.

    Raises:
        ValueError: it is none. The message is a clause.
    """
    body = body_of(row)
    turns, system = body.get("messages"), ""
    if turns is None and "input" in body:
        turns, system = body["input"], str(body.get("instructions") or "")
        turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    if not isinstance(turns, list):
        url = row.get("url")
        raise ValueError(f"its call of {url[:40]} has no messages" if isinstance(url, str) else "it has no messages")
    return conversation(str(row.get("custom_id") or ""), in_a_row(_pairs(turns, "role", "content")), system=system)


def sharegpt(row: Mapping[str, Any]) -> ForeignConversation:
    """A row with ``conversations``: who speaks is ``from``, what is said ``value``.

    Raises:
        ValueError: it is none. The message is a clause.
    """
    turns = row["conversations"]
    if not isinstance(turns, list):
        raise ValueError("its conversations are no list")
    return conversation("", in_a_row(_pairs(turns, "from", "value")))


def body_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row, or the call in a row of a batch."""
    body = row.get("body")
    return body if isinstance(body, dict) else row


def _pairs(turns: list[Any], who: str, what: str) -> list[tuple[str, str]]:
    if not all(isinstance(turn, dict) for turn in turns):
        raise ValueError("a message of its conversation is no object")
    return [(str(turn.get(who)), spoken(turn.get(what))) for turn in turns]
