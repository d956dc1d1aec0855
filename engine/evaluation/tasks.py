"""Prompts whose answers can be checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, get_args

from engine.errors import InvalidRequestError, NotJudgedError
from engine.evaluation.judge import JUDGED
from engine.evaluation.scorers import CHECKERS
from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    Role,
    RunConfig,
    SamplingParams,
    backend_of,
)
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
    history: tuple[Message, ...] = ()
    """What was said before the prompt, the system prompt included."""

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

    @property
    def messages(self) -> tuple[Message, ...]:
        """What a model is asked: the prompt after its history."""
        return (*self.history, Message("user", self.prompt))

    @property
    def transcript(self) -> str:
        """The prompt; after a history, all of it with who said what."""
        if not self.history:
            return self.prompt
        return "\n\n".join(f"{message.role.capitalize()}: {message.content}" for message in self.messages)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values. A history that is empty is left out, so that it changes no identity of a set."""
        tree = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "history"}
        return tree | ({"history": [message.to_dict() for message in self.history]} if self.history else {})

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            InvalidRequestError: a value is none that a task can have.
            TypeError: a key is missing, or none of a task's.
        """
        return cls(**{**tree, "history": read_history(tree.get("history", []))})

    def request(self, model: str, precision: Precision) -> GenerationRequest:
        """The task as a greedy run of a model at a precision."""
        config = RunConfig(
            model=model,
            backend=backend_of(model),
            optimization=OptimizationConfig.at(precision),
            sampling=SamplingParams(max_tokens=self.max_tokens),
        )
        return GenerationRequest(messages=self.messages, config=config)


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
            task = Task.from_dict(record.fields)
        except (ValueError, TypeError) as error:
            raise InvalidRequestError(
                f"Line {record.line:,}: no task of {path.name}, because {str(error).rstrip('.')}."
            ) from error
        if task.id in tasks:
            raise InvalidRequestError(f"Line {record.line:,}: the id {task.id!r} is taken.")
        tasks[task.id] = task
    return tuple(tasks.values())


def read_history(value: Any) -> tuple[Message, ...]:
    """What was said before a prompt, from JSON: a list of objects with ``role`` and ``content``.

    Raises:
        InvalidRequestError: it is none.
    """
    found: list[Message] = []
    for turn in value if isinstance(value, list) else [None]:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        require(
            role in get_args(Role) and isinstance(content, str),
            f"A history is a list of messages, each with a role ({', '.join(get_args(Role))}) and a content.",
        )
        found.append(Message.from_dict({"role": role, "content": content}))
    return tuple(found)


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
