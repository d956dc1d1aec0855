"""An OpenAI-compatible server: its address, the key for it, and what it says of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from engine.errors import InvalidRequestError
from engine.untrusted import valid_text

MOST_SHOWN = 200
"""Characters of what a server says of an error."""
_HOST = re.compile(r"[\w.:%-]+")


def endpoint_of(url: str, key_variable: str) -> str:
    """Where chat completions are asked for.

    Args:
        url: of the server, or of its API: ``http://127.0.0.1:8501`` and ``http://127.0.0.1:8501/v1`` are the same.
        key_variable: where a key is to be given instead of a password in the address.

    Raises:
        InvalidRequestError: the address is none, or holds a password.
    """
    import httpx2

    try:
        parts = urlsplit(url.strip())
        is_address = (
            parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
        )
        path = parts.path.rstrip("/") or "/v1"
        endpoint = str(httpx2.URL(f"{parts.scheme}://{parts.netloc}{path}/chat/completions"))
    except (ValueError, httpx2.InvalidURL):
        is_address = False
    if not is_address:
        raise InvalidRequestError("The server's address must be one such as http://127.0.0.1:8501.")
    if "@" in parts.netloc:
        raise InvalidRequestError(f"The address holds a password. Give a key in {key_variable} instead.")
    return endpoint


def key_from(names: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The key to send, from the first of some variables that is set; ``None`` without one.

    Raises:
        InvalidRequestError: a header cannot hold it. The message does not tell it.
    """
    for name in names:
        key = environ.get(name, "").strip()
        if key:
            if not re.fullmatch(r"[!-~]+", key):
                raise InvalidRequestError(f"The key in {name} holds characters that cannot be sent.")
            return key
    return None


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
