"""JSON that somebody else wrote: any size of number, any depth, any string."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
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
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_whole)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{error.object[error.start]:02x} at position {error.start:,} is no UTF-8") from None
    for depth, level in enumerate(_levels(value)):
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        if any(isinstance(entry, int | float) and not -_LARGEST <= entry <= _LARGEST for entry in level):
            raise ValueError(_TOO_LARGE)
    return valid_tree(value) if _MAYBE_INVALID.search(text) else value


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
    return any(depth > MAX_DEPTH for depth, _ in enumerate(_levels(value)))


def _levels(value: Any) -> Iterator[list[Any]]:
    """What stands at each depth, from the whole inwards."""
    level = [value]
    while level:
        yield level
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                below.extend(entry.values())
            elif isinstance(entry, list):
                below.extend(entry)
        level = below


_MAYBE_INVALID = re.compile(r"\\u(?:0000|[dD][89a-fA-F])|[\ud800-\udfff]")
"""Whatever makes a string that is no valid text; most files hold none, and then need not be gone through."""
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"
_TOO_LARGE = f"a number in it is larger than {_LARGEST:.1e}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _whole(digits: str) -> int:
    if len(digits) > sys.float_info.max_10_exp + 2:  # Python itself refuses some thousands of digits, in its own words
        raise ValueError(_TOO_LARGE)
    return int(digits)
