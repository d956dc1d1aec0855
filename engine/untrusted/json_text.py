"""JSON that somebody else wrote: any size of number, any depth, any string."""

from __future__ import annotations

import json
from typing import Any

from engine.untrusted.text import valid_tree

MAX_DEPTH = 64
"""Levels of lists and objects inside each other that are read. What reads the result may recurse."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; strings in it come out as :func:`~engine.untrusted.text.valid_text`.

    Raises:
        ValueError: it is no JSON, or it is nested deeper than :data:`MAX_DEPTH`. The message is a phrase that
            a sentence can end with.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"byte 0x{error.object[error.start]:02x} at position {error.start:,} is no UTF-8") from None
    if is_too_deep(value):
        raise ValueError(_TOO_DEEP)
    return valid_tree(value)


def is_too_deep(value: Any) -> bool:
    """Whether JSON-like data is nested deeper than :data:`MAX_DEPTH`."""
    level, depth = [value], 0
    while level := [item for entry in level for item in _children(entry)]:
        depth += 1
        if depth > MAX_DEPTH:
            return True
    return False


_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
