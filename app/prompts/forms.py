"""Files whose rows say themselves what they are: public benchmarks, and conversations."""

from __future__ import annotations

from collections.abc import Iterator

from app.prompts.conversations.reading import conversation_form
from app.prompts.dialogues import Turns, prompts_of
from app.prompts.gathering import Brought, gather
from app.prompts.published import published_form
from app.prompts.tables import Row, Table
from engine import Task
from engine.errors import InvalidRequestError


def published_as(table: Table) -> str | None:
    """The public benchmark, or the form of conversations, that a file is, by its first row."""
    found = published_form(table.rows[0].cells) or conversation_form(table.rows[0].cells)
    return found[0] if found else None


def has_turns(table: Table) -> bool:
    """Whether it is a file of conversations, of which some messages are asked."""
    first = table.rows[0].cells
    return published_form(first) is None and conversation_form(first) is not None


def convert_published(table: Table, turns: Turns = Turns.LAST) -> Brought:
    """The prompts of the public benchmark, or of the conversations, that the first row is of.

    Args:
        table: the file, each row as it is published.
        turns: which messages of a conversation are asked.

    Raises:
        InvalidRequestError: it is of none that is known.
    """
    found = published_form(table.rows[0].cells)
    form = conversation_form(table.rows[0].cells)
    if found is None and form is not None:
        return gather(table, lambda row, place: _of_conversation(form[0], row, place, turns))
    if found is None:
        raise InvalidRequestError("The first row is not as a known benchmark is published.")
    _, as_published = found

    def task(row: Row, place: int) -> tuple[Task, ...]:
        try:
            return (as_published(row.cells, place),)
        except KeyError as error:
            raise ValueError(f"has no text in column “{error.args[0]}”") from error
        except ValueError as error:
            raise ValueError(f"cannot be asked, because {str(error).rstrip('.')}") from error

    return gather(table, task)


def _of_conversation(form: str, row: Row, place: int, turns: Turns) -> Iterator[Task]:
    try:
        return prompts_of(form, row.cells, place, turns)
    except ValueError as error:
        raise ValueError(f"cannot be asked, because {str(error).rstrip('.')}") from error
