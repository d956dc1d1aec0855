"""JSON that somebody else wrote: any size of number, any depth, any string."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from engine.untrusted.text import valid_tree

MAX_DEPTH = 64
"""Levels of lists and objects inside each other that are read. What reads the result may recurse."""
_LARGEST = sys.float_info.max


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; strings in it come out as :func:`~engine.untrusted.text.valid_text`, numbers are finite.

    NaN and Infinity, which some tools write, are no JSON.

    Raises:
        ValueError: it is no JSON, it is nested deeper than :data:`MAX_DEPTH`, or a number is larger than a float can
            be. The message is a phrase that a sentence can end with.
    """
    may_hold_halves = isinstance(text, str)
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_whole, parse_float=_finite)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{error.object[error.start]:02x} at position {error.start:,} is no UTF-8") from None
    if is_too_deep(value):
        raise ValueError(_TOO_DEEP)
    is_valid = not _ESCAPED.search(text) and not (may_hold_halves and _HALF.search(text))
    return value if is_valid else valid_tree(value)


def read_json_file(path: Path, most_bytes: int) -> Any:
    """Parse a file of JSON. No more than ``most_bytes`` are read, whatever size the file says it has.

    Raises:
        ValueError: as :func:`parse_json`, or the file is larger, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    if len(data) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    return parse_json(data)


def is_too_deep(value: Any) -> bool:
    """Whether JSON-like data is nested deeper than :data:`MAX_DEPTH`."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for entry in level
            for inner in (entry.values() if isinstance(entry, dict) else entry)
            if isinstance(inner, _CONTAINERS)
        ]
        if not level:
            return False
    return any(level)


_CONTAINERS = (dict, list)
_ESCAPED = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_HALF = re.compile("[\ud800-\udfff]")
"""What makes a string that is no valid text; most files hold none, and then need not be gone through."""
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"
_MOST_DIGITS = sys.float_info.max_10_exp
"""Of a whole number that a float can surely be as large as."""
_TOO_LARGE = f"a number in it is larger than {_LARGEST:.1e}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _whole(digits: str) -> int:
    # Python itself refuses some thousands of digits, in its own words
    if len(digits) > _MOST_DIGITS and (len(digits) > _MOST_DIGITS + 2 or abs(int(digits)) > _LARGEST):
        raise ValueError(_TOO_LARGE)
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if abs(number) > _LARGEST:
        raise ValueError(_TOO_LARGE)
    return number
