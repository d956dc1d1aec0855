"""Line-based files as other tools write them: JSONL and CSV, with byte-order marks and any line ends.

Only a line feed ends a line of JSONL: strings may hold U+2028, U+2029 and U+0085, at which ``str.splitlines`` cuts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.errors import InvalidRequestError
from engine.untrusted.json_text import parse_json

_LONGEST_FIELD = 16 * 2**20
"""Characters of one CSV field. Python's own limit of 131,072 is less than a long prompt."""


@dataclass(frozen=True, slots=True)
class Record:
    """One object or row of a file."""

    line: int
    """The line it begins on, from 1."""
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


def read_csv(text: str, delimiter: str = ",") -> Iterator[Record]:
    """The rows of a CSV text by the names in its first row; empty rows are passed over.

    Raises:
        InvalidRequestError: it has no first row, a column's name stands twice, or a row has more or fewer fields.
            The message begins with the line.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    names: list[str] = []
    began = 1
    try:
        for row in reader:
            if not names:
                names = [name.strip() for name in row]
                if len(set(names)) < len(names):
                    raise InvalidRequestError(f"Line {began:,}: a column's name stands there twice.")
            elif row:
                if len(row) != len(names):
                    raise InvalidRequestError(f"Line {began:,}: {len(row):,} fields for {len(names):,} columns.")
                yield Record(began, dict(zip(names, row, strict=True)))
            began = reader.line_num + 1
    except csv.Error as error:
        raise InvalidRequestError(f"Line {began:,}: no CSV ({error}).") from error
