"""Why an answer is right or wrong, in words, and what was expected of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import NotJudgedError, SandboxUnavailableError
from engine.evaluation.judge import JUDGED
from engine.evaluation.programs import forms, helpers
from engine.evaluation.sandbox import run_tests
from engine.evaluation.scorers import (
    contains,
    exact,
    first_json,
    json_equal,
    last_number,
    number,
    picked,
    regex,
    schema,
)
from engine.evaluation.tasks import Task

_LONGEST = 160
"""Characters of what is quoted."""


def explain_check(task: Task, text: str) -> str:
    """Why an answer to a task is right or wrong: a clause such as "the last number is 41, expected 42".

    An answer that is code is run again; where that cannot be done safely, or the checker cannot decide, it says so.
    """
    if task.checker is None:
        return "the prompt has no checker"
    if task.checker == JUDGED:
        return "a model has to judge it"
    try:
        return _REASONS[task.checker](text, task.expected)
    except (NotJudgedError, SandboxUnavailableError) as error:
        return f"it cannot be judged: {str(error).rstrip('.')}"


def expected_words(task: Task) -> str:
    """What counts as right, on one line; empty where there is no checker."""
    return "" if task.checker is None else _EXPECTED[task.checker](task.expected)


def _exact(text: str, expected: Any) -> str:
    if exact(text, expected):
        return "the whole answer is what was expected"
    return f"the whole answer must be {_any_of(expected)}, and is {_quoted(text)}"


def _number(text: str, expected: float) -> str:
    found = last_number(text)
    if found is None:
        return f"there is no number in it, expected {expected:.15g}"
    says = f"the last number is {found}"
    return f"{says}, as expected" if number(text, expected) else f"{says}, expected {expected:.15g}"


def _choice(text: str, expected: Mapping[str, Any]) -> str:
    options = expected["options"]
    letter, wanted = picked(text, options), str(expected["answer"])
    if letter is None:
        return f"it picks none of the {len(options)} options, or several; expected {_option(options, wanted)}"
    says = f"it picks {_option(options, letter)}"
    return f"{says}, as expected" if letter == wanted else f"{says}, expected {_option(options, wanted)}"


def _contains(text: str, expected: Any) -> str:
    options = [expected] if isinstance(expected, str) else expected
    found = next((option for option in options if contains(text, option)), None)
    if found is not None:
        return f"{_quoted(found)} stands in it"
    return f"it does not say {_any_of(expected)} as words of their own"


def _regex(text: str, expected: Mapping[str, str]) -> str:
    found = "is found" if regex(text, expected) else "is not found"
    return f"the pattern {_short(expected['pattern'])} {found} in it"


def _json(text: str, expected: Any) -> str:
    values = first_json(text)
    if not values:
        return f"there is no JSON in it, expected {_short(_dumped(expected))}"
    if json_equal(text, expected):
        return "the first JSON in it is what was expected"
    return f"the first JSON in it is {_short(_dumped(values[0]))}, expected {_short(_dumped(expected))}"


def _schema(text: str, expected: Mapping[str, Any]) -> str:
    values = first_json(text)
    if not values:
        return "there is no JSON in it"
    valid = "is valid" if schema(text, expected) else "is not valid"
    return f"the first JSON in it, {_short(_dumped(values[0]))}, {valid} by the schema"


def _code(text: str, expected: Mapping[str, str]) -> str:
    entry, start = expected["entry"], expected.get("start", "")
    verdict = run_tests(forms(text, entry, start), expected["tests"], entry, helpers=helpers(entry, start))
    return f"{entry} passes its tests" if verdict.passed else f"{entry} does not pass its tests: {verdict.reason}"


_REASONS: Mapping[str, Callable[[str, Any], str]] = {
    "exact": _exact,
    "number": _number,
    "choice": _choice,
    "contains": _contains,
    "regex": _regex,
    "json": _json,
    "schema": _schema,
    "code": _code,
}
_EXPECTED: Mapping[str, Callable[[Any], str]] = {
    "exact": lambda expected: f"nothing but {_any_of(expected)}",
    "number": lambda expected: f"{expected:.15g} as its last number",
    "choice": lambda expected: _option(expected["options"], str(expected["answer"])),
    "contains": lambda expected: f"{_any_of(expected)} in it",
    "regex": lambda expected: f"the pattern {_short(expected['pattern'])} in it",
    "json": lambda expected: f"the JSON {_short(_dumped(expected))}",
    "schema": lambda expected: f"JSON valid by {_short(_dumped(expected['schema']))}",
    "code": lambda expected: f"a function {expected['entry']} that passes the tests",
    JUDGED: lambda expected: (
        "what a model judges right" if expected is None else f"what agrees with {_quoted(expected)}"
    ),
}


def _any_of(expected: str | list[str]) -> str:
    options = [expected] if isinstance(expected, str) else expected
    return " or ".join(map(_quoted, options))


def _option(options: list[str], letter: str) -> str:
    return f"{letter} ({_short(options[ord(letter) - ord('A')])})"


def _quoted(text: str) -> str:
    return f"“{_short(text)}”"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
