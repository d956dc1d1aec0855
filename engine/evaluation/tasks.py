"""Prompts whose answers can be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.types import GenerationRequest, Precision

TASKS_FILE = Path(__file__).parents[2] / "data" / "prompts" / "tasks.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A prompt with the answer it should get."""

    id: str
    category: str
    prompt: str
    checker: str
    """Name of one of the checkers: exact, number, choice, contains, regex, json."""
    expected: Any
    """What the checker compares with."""
    max_tokens: int

    def request(self, model: str, precision: Precision) -> GenerationRequest:
        """The task as a greedy run of a model at a precision."""
        raise NotImplementedError


def load_tasks(path: Path = TASKS_FILE) -> tuple[Task, ...]:
    """The tasks of a JSONL file, in its order.

    Raises:
        InvalidRequestError: the file is missing, a line is no task, an id comes twice.
    """
    raise NotImplementedError


def check(task: Task, text: str) -> bool:
    """Whether an answer to a task is right."""
    raise NotImplementedError
