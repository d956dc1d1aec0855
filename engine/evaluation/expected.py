"""Whether what a checker is to compare with makes sense, told before any model is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from engine.errors import NotJudgedError
from engine.evaluation import patterns
from engine.evaluation.scorers import CHECKERS
from engine.untrusted import parse_json

_LARGEST = sys.float_info.max


def expected_of(checker: str, value: Any) -> Any:
    """What a checker expects, from a file; a cell of CSV may hold it as JSON.

    Raises:
        ValueError: there is no such checker, or it cannot compare with this.
    """
    if checker not in CHECKERS:
        raise ValueError(f"there is no checker {checker!r}; there are: {', '.join(CHECKERS)}")
    if isinstance(value, str) and (checker not in ("exact", "contains") or value.lstrip().startswith("[")):
        try:
            value = parse_json(value)
        except ValueError as error:
            if checker not in ("exact", "contains"):
                raise ValueError(f"what {checker} expects is no JSON ({error}): {value[:60]!r}") from None
    _CHECKS[checker](value)
    return value


def _words(value: Any) -> None:
    options = value if isinstance(value, list) else [value]
    _require(bool(options) and all(_is_text(option) for option in options), "a text or a list of texts is expected")


def _number(value: Any) -> None:
    _require(isinstance(value, int | float) and not isinstance(value, bool), "a number is expected")
    _require(-_LARGEST <= value <= _LARGEST, f"the number expected must be one of at most {_LARGEST:.1e}")


def _choice(value: Any) -> None:
    _keys(value, "options", "answer")
    options = value["options"]
    _require(
        isinstance(options, list) and 2 <= len(options) <= 26 and all(_is_text(option) for option in options),
        "a choice has 2 to 26 options, each a text",
    )
    letters = [chr(ord("A") + index) for index in range(len(options))]
    _require(value["answer"] in letters, f"the answer of a choice is one of the letters {', '.join(letters)}")


def _regex(value: Any) -> None:
    _keys(value, "pattern")
    patterns.check_pattern(value["pattern"])


def _json(value: Any) -> None:
    _require(isinstance(value, dict | list), "a JSON object or list is expected")


def _schema(value: Any) -> None:
    _keys(value, "schema")
    patterns.check_schema(value["schema"])
    try:
        _require("example" not in value or patterns.is_valid(value["schema"], value["example"]), "the example fails")
    except NotJudgedError as error:
        raise ValueError(f"the example cannot be judged: {error}") from error


def _code(value: Any) -> None:
    _keys(value, "tests", "entry")
    _require(isinstance(value["entry"], str) and value["entry"].isidentifier(), "the entry is the name of a function")
    try:
        compile(value["tests"], "tests", "exec", dont_inherit=True)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the tests are no Python: {str(error) or 'they are nested too deeply'}") from error
    _require(isinstance(value.get("start", ""), str), "the start is a text")


_CHECKS: Mapping[str, Callable[[Any], None]] = {
    "exact": _words,
    "number": _number,
    "choice": _choice,
    "contains": _words,
    "regex": _regex,
    "json": _json,
    "schema": _schema,
    "code": _code,
}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _keys(value: Any, *keys: str) -> None:
    _require(isinstance(value, dict) and all(key in value for key in keys), f"an object with {' and '.join(keys)}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
