"""Regular expressions and JSON schemas that somebody brought, read and tried in a process that they cannot hold up."""

from __future__ import annotations

from typing import Any

from engine.errors import NotJudgedError
from engine.untrusted import MAX_DEPTH, is_too_deep
from engine.untrusted.confined import BeyondLimitsError, Confined, ForeignError

PATTERNS = Confined("patterns", seconds=2)
LONGEST_PATTERN = 10_000
"""Characters."""


def found(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text.

    Raises:
        NotJudgedError: the pattern took too long, or cannot be read.
    """
    return bool(_run("search", "the pattern", pattern=pattern, text=text))


def is_valid(schema: Any, value: Any) -> bool:
    """Whether a value is valid by a JSON schema of draft 2020-12. One that is nested too deeply to be read is not.

    Raises:
        NotJudgedError: the schema took too long, or refers to what it does not hold.
    """
    if is_too_deep(value):
        return False
    return bool(_run("validate", "the JSON schema", schema=schema, value=value))


def check_pattern(pattern: Any) -> None:
    """See whether a pattern can be read.

    Raises:
        ValueError: it cannot. The message is a clause.
    """
    if not isinstance(pattern, str):
        raise ValueError("the pattern is no text")
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the pattern is longer than {LONGEST_PATTERN:,} characters")
    _check("check_pattern", "the pattern cannot be read", pattern=pattern)


def check_schema(schema: Any) -> None:
    """See whether a JSON schema is one.

    Raises:
        ValueError: it is not. The message is a clause.
    """
    if is_too_deep(schema):
        raise ValueError(f"the JSON schema is nested more than {MAX_DEPTH} levels deep")
    _check("check_schema", "the JSON schema is not valid", schema=schema)


def _check(function: str, wrong: str, **arguments: Any) -> None:
    try:
        PATTERNS.run(function, arguments)
    except ForeignError as error:
        raise ValueError(f"{wrong}: {error}") from error
    except BeyondLimitsError as error:
        raise ValueError(f"{wrong}: it {error}") from error


def _run(function: str, what: str, **arguments: Any) -> Any:
    try:
        return PATTERNS.run(function, arguments)
    except ForeignError as error:
        raise NotJudgedError(f"{what} fails on it: {error}") from error
    except BeyondLimitsError as error:
        raise NotJudgedError(f"{what} {error}") from error
