"""JSONL as other tools write it, with any line ends.

Only a line feed ends a line of JSONL: strings may hold U+2028, U+2029 and U+0085, at which ``str.splitlines`` cuts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidRequestError
from engine.untrusted.json_text import parse_json


@dataclass(frozen=True, slots=True)
class Record:
    """One object of a file."""

    line: int
    """Its line, from 1."""
    fields: dict[str, Any]


def split_lines(text: str) -> list[str]:
    r"""The lines of a text, ended by ``\n`` or ``\r\n``, without their ends."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def read_jsonl(text: str) -> Iterator[Record]:
    """The objects of a JSONL text, one a line; empty lines are passed over.

    Raises:
        InvalidRequestError: a line is no JSON object. The message begins "Line 3: ".
    """
    for number, line in enumerate(split_lines(text), 1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            raise InvalidRequestError(f"Line {number:,}: not JSON ({error}).") from error
        if not isinstance(value, dict):
            raise InvalidRequestError(f"Line {number:,}: a JSON object is needed, such as {{…}}.")
        yield Record(number, value)
