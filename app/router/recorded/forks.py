"""A set of prompts made from another: fewer prompts, other words, another name."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from app.quantization.tasks import tasks_sha256
from app.store import RouterStore
from engine import JUDGED, Task
from engine.errors import InvalidRequestError
from engine.evaluation.expected import expected_of

_ASKED = ("prompt", "checker", "expected", "max_tokens", "history")
"""What an answer and its score hang on."""


def expected_text(task: Task) -> str:
    """What a task expects, as it can be edited: plain text, or JSON."""
    if task.checker is None or task.expected is None:
        return ""
    return task.expected if isinstance(task.expected, str) else json.dumps(task.expected, ensure_ascii=False)


def edited(task: Task, row: str, *, prompt: str, category: str, expected: str) -> Task:
    """A task with other words.

    Args:
        task: as it was.
        row: how an error names it, such as "row 3".
        prompt: its new prompt.
        category: its new category.
        expected: as :func:`expected_text` writes it.

    Raises:
        InvalidRequestError: the prompt is empty, or its checker cannot compare with what is expected.
    """
    if not prompt.strip():
        raise InvalidRequestError(f"{row.capitalize()} has no text in column “Prompt”.")
    value = task.expected
    if task.checker == JUDGED:
        value = expected.strip() or None
    elif task.checker is not None and expected != expected_text(task):
        try:
            value = expected_of(task.checker, expected)
        except ValueError as error:
            raise InvalidRequestError(
                f"{row.capitalize()} cannot be checked by column “Expected”: {str(error).rstrip('.')}."
            ) from error
    return replace(task, prompt=prompt, category=category.strip() or task.category, expected=value)


def keep_fork(
    store: RouterStore, source: str | None, name: str, tasks: Sequence[Task], original: Sequence[Task]
) -> str:
    """Keep prompts as a set of their own, whatever others there are with the same prompts; its id.

    Answers of the source to prompts that are still the same come along with their marks, so that they are not asked
    again.

    Args:
        store: of whoever forks.
        source: the set that the answers are from; ``None`` leaves them.
        name: of the new set.
        tasks: its prompts.
        original: those of the source.

    Raises:
        InvalidRequestError: there is no name or no prompt.
        StoreError: the run database cannot be used.
    """
    if not name.strip():
        raise InvalidRequestError("Give it a name first.")
    if not tasks:
        raise InvalidRequestError("Keep a prompt at least.")
    salted = f"{tasks_sha256(tasks)} {uuid.uuid4().hex}"
    identity = hashlib.sha256(salted.encode()).hexdigest()
    store.keep_set(identity, name.strip(), tasks)
    if source is not None:
        before = {task.id: _asked(task) for task in original}
        store.copy_answers(source, identity, [task.id for task in tasks if before.get(task.id) == _asked(task)])
    return identity


def _asked(task: Task) -> Mapping[str, Any]:
    return {name: getattr(task, name) for name in _ASKED}
