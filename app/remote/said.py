"""What is shown of a server's errors."""

from __future__ import annotations

import json
from typing import Any

from engine.untrusted import valid_text

MOST_SHOWN = 200
"""Characters of what a server says of an error."""


def error_message(value: Any) -> str:
    """What a server says of an error, of the JSON that it sent: OpenAI's message if it is in that shape."""
    match value:
        case {"error": {"message": str(message)}} | {"error": str(message)} | {"message": str(message)}:
            return message
        case _:
            return json.dumps(value)


def one_line(text: str, key: str | None) -> str:
    """One short line of what a server says, without the key, which some servers repeat."""
    if key:
        text = text.replace(key, "…")
    return valid_text("".join(char if char.isprintable() else " " for char in text))[:MOST_SHOWN].strip()
