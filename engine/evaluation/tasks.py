"""Prompts whose answers can be checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InvalidRequestError, NotJudgedError
from engine.evaluation.judge import JUDGED
from engine.evaluation.scorers import CHECKERS
from engine.types import GenerationRequest, Message, OptimizationConfig, Precision, RunConfig, SamplingParams
from engine.types.requirement import keep_valid_text, require
from engine.untrusted import decode_text, read_jsonl, valid_tree

TASKS_FILE = Path(__file__).parents[2] / "data" / "prompts" / "tasks.jsonl"
MIXED_FILE = TASKS_FILE.with_name("mixed.jsonl")
"""From easy to hard, so that small and large models differ: what a cascade is calibrated and tested on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A prompt, and the answer it should get where it has one."""

    id: str
    category: str
    prompt: str
    checker: str | None = None
    """Name of one of the checkers: exact, number, choice, contains, regex, json, schema, code; or "judged", where a
    model has to say it. ``None`` where no answer can be told right or wrong: such a task has no score, and shows only
    whether models answer alike."""
    expected: Any = None
    """What the checker compares with; of a judged task a right answer, or ``None`` where none is known."""
    max_tokens: int
    template: str = ""
    """Its family: prompts that were written to one pattern."""

    def __post_init__(self) -> None:
        texts = ("id", "category", "prompt", "template")
        for name in texts:
            require(isinstance(getattr(self, name), str), f"A task's {name} must be a text.")
        require(type(self.max_tokens) is int, "A task's max_tokens must be a whole number.")
        keep_valid_text(self, *texts)
        object.__setattr__(self, "expected", valid_tree(self.expected))
        if self.checker is not None and self.checker not in (*CHECKERS, JUDGED):
            raise InvalidRequestError(f"There is no checker {self.checker!r}; there are: {', '.join(CHECKERS)}.")
        if self.checker == JUDGED:
            require(self.expected is None or isinstance(self.expected, str), "What a judge compares with is a text.")

    def request(self, model: str, precision: Precision) -> GenerationRequest:
        """The task as a greedy run of a model at a precision."""
        config = RunConfig(
            model=model,
            optimization=OptimizationConfig.at(precision),
            sampling=SamplingParams(max_tokens=self.max_tokens),
        )
        return GenerationRequest(messages=(Message("user", self.prompt),), config=config)


def load_tasks(path: Path = TASKS_FILE) -> tuple[Task, ...]:
    """The tasks of a JSONL file, in its order.

    Raises:
        InvalidRequestError: the file cannot be read, a line is no task, or an id comes twice.
    """
    try:
        text = decode_text(path.read_bytes(), path.name)
    except OSError as error:
        raise InvalidRequestError(f"The tasks in {path} cannot be read: {error}.") from error
    tasks: dict[str, Task] = {}
    for record in read_jsonl(text):
        try:
            task = Task(**record.fields)
        except (ValueError, TypeError) as error:
            raise InvalidRequestError(
                f"Line {record.line:,}: no task of {path.name}, because {str(error).rstrip('.')}."
            ) from error
        if task.id in tasks:
            raise InvalidRequestError(f"Line {record.line:,}: the id {task.id!r} is taken.")
        tasks[task.id] = task
    return tuple(tasks.values())


def check(task: Task, text: str) -> bool:
    """Whether an answer to a task is right.

    Raises:
        InvalidRequestError: the task has no checker.
        NotJudgedError: a model has to judge it, or the checker cannot decide.
        SandboxUnavailableError: the answer is code, and this machine cannot run it safely.
    """
    if task.checker == JUDGED:
        raise NotJudgedError("a model has to judge it")
    if task.checker is None:
        raise InvalidRequestError(f"The prompt {task.id!r} has no answer that can be checked.")
    return CHECKERS[task.checker](text, task.expected)
