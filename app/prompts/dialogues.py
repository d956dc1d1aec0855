"""Conversations as prompts: which of a user's messages are asked, each after all that was said before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from typing import Any

from app.prompts.conversations.reading import read_as
from app.prompts.conversations.turns import body_of
from engine import Task
from engine.types import Message

MOST_SAID = 32 * 2**20
"""Characters of what was said before the prompts of one conversation, counted for each of them: it grows with the
square of the conversation."""
_A_MESSAGE = 40
"""Characters that a message takes besides its text, where a history is kept."""
_USUAL_TOKENS, _MOST_TOKENS = 256, 4096


class Turns(StrEnum):
    """Which messages of a user are asked."""

    LAST = "last"
    EVERY = "every"
    FIRST = "first"


def prompts_of(form: str, row: Mapping[str, Any], place: int, turns: Turns) -> Iterator[Task]:
    """The prompts that a conversation gives, of the branch on view, made as they are asked for. None has a score; those
    of one conversation are one template, for they are no independent draws.

    Args:
        form: one of the forms of :func:`app.prompts.conversations.reading.conversation_form`.
        row: the conversation.
        place: its number in the file.
        turns: which are asked.

    Raises:
        ValueError: at once: it is none of that form, or too long to be asked so. The message is a clause.
    """
    found = read_as(form, row)
    id = str(row.get("custom_id") or row.get("id") or f"{form.lower().replace(' ', '-')}-{place}")
    path = found.path()
    system = (Message("system", found.system),) if found.system else ()
    messages = (*system, *(Message(said.role, said.content) for said in path))
    asked = _chosen([at for at, each in enumerate(messages) if each.role == "user"], turns)
    if not asked:
        raise ValueError("the branch on view has no message of a user")
    before = [0, *accumulate(len(each.content) + _A_MESSAGE for each in messages)]
    said = sum(before[at] for at in asked)
    if turns is Turns.EVERY and said > MOST_SAID:
        raise ValueError(
            f"what was said before its messages comes to {said / 2**20:,.0f} MB together, and at most "
            f"{MOST_SAID >> 20} MB are read: ask its last message, or its first"
        )
    max_tokens = _tokens(body_of(row))
    return (
        Task(
            id=id if turns is not Turns.EVERY else f"{id} ({number})",
            category=form,
            prompt=messages[at].content.strip(),
            max_tokens=max_tokens,
            template=id if turns is Turns.EVERY else "",
            history=messages[:at],
        )
        for number, at in enumerate(asked, 1)
    )


def _chosen(asked: Sequence[int], turns: Turns) -> Sequence[int]:
    match turns:
        case Turns.FIRST:
            return asked[:1]
        case Turns.LAST:
            return asked[-1:]
        case _:
            return asked


def _tokens(body: Mapping[str, Any]) -> int:
    """As many as a call of the API asks for, where it does and that is not too many."""
    keys = ("max_completion_tokens", "max_output_tokens", "max_tokens")
    wanted = next((body[key] for key in keys if type(body.get(key)) is int), _USUAL_TOKENS)
    return min(max(1, wanted), _MOST_TOKENS)
