"""Text that every database and every file can hold."""

from __future__ import annotations

import re
from typing import Any

# PostgreSQL takes no NUL, and half a surrogate pair has no UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(text: str) -> str:
    """The text with each NUL and each lone surrogate replaced by U+FFFD; its length stays."""
    return _UNSTORABLE.sub("\ufffd", text)


def clean_tree(value: Any) -> Any:
    """JSON-like data with every string in it cleaned, keys included."""
    match value:
        case str():
            return clean_text(value)
        case dict():
            return {clean_text(str(key)): clean_tree(item) for key, item in value.items()}
        case list() | tuple():
            return [clean_tree(item) for item in value]
        case _:
            return value
