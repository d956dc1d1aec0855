"""Conversations as prompts: which of a user's messages are asked, each after all that was said before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from app.prompts.conversations.reading import read_as
from app.prompts.conversations.turns import body_of
from engine import Task

_USUAL_TOKENS, _MOST_TOKENS = 256, 4096


class Turns(StrEnum):
    """Which messages of a user are asked."""

    LAST = "last"
    EVERY = "every"
    FIRST = "first"


def prompts_of(form: str, row: Mapping[str, Any], place: int, turns: Turns) -> tuple[Task, ...]:
    """The prompts that a conversation gives, of the branch on view. None has a score; those of one conversation are
    one template, for they are no independent draws.

    Args:
        form: one of the forms of :func:`app.prompts.conversations.reading.conversation_form`.
        row: the conversation.
        place: its number in the file.
        turns: which are asked.

    Raises:
        ValueError: it is none of that form. The message is a clause.
    """
    found = read_as(form, row)
    id = str(row.get("custom_id") or row.get("id") or f"{form.lower().replace(' ', '-')}-{place}")
    path = found.path()
    asked = [at for at, said in enumerate(path) if said.role == "user"]
    if not asked:
        raise ValueError("the branch on view has no message of a user")
    return tuple(
        Task(
            id=id if turns is not Turns.EVERY else f"{id} ({number})",
            category=form,
            prompt=path[at].content.strip(),
            max_tokens=_tokens(body_of(row)),
            template=id if turns is Turns.EVERY else "",
            history=found.before(path, at),
        )
        for number, at in enumerate(_chosen(asked, turns), 1)
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
