"""What is said of a server's errors, for the reader: never with the key, which some servers repeat."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any

from engine.untrusted import valid_text

MOST_SHOWN = 200
"""Characters of what a server says of an error."""
_MOST_COUNTED = 2**31
_REFUSED = (401, 403)
_NOT_TAKEN = (400, 405, 413, 415, 422)


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


def count_of(tree: Any, *names: str) -> int | None:
    """A count that a server told, ``names`` being the way to it; ``None`` where there is none, or it is no count that
    can be."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, int) and not isinstance(tree, bool) and 0 <= tree < _MOST_COUNTED else None


def status_words(status: int, said: str, headers: Mapping[str, str], *, has_key: bool, model: str | None = None) -> str:
    """What an HTTP status other than 200 means, as a clause after the server's name: "refuses the key (HTTP 401)".

    Args:
        status: of the answer.
        said: what the server says of it, one line.
        headers: of the answer, by their names in small letters.
        has_key: whether a key was sent.
        model: as the server calls it, where one was asked for.
    """
    if 300 <= status < 400:
        return (
            f"sends the request on to another address (HTTP {status}), where neither a text nor a key is sent. If you "
            "trust that address, enter it as the server's"
        )
    if status in _REFUSED:
        meaning = "refuses the key" if has_key else "wants a key"
    elif status == 404:
        meaning = "has no such address" if model is None else f"has no model {model!r}, or no such address"
    elif status == 429:
        wait = headers.get("retry-after", "").strip()
        meaning = "takes no more requests for now" + (f", ask again in {wait} s" if wait.isdecimal() else "")
    elif status in _NOT_TAKEN:
        meaning = "does not take the request"
    elif status >= 500:
        meaning = "failed"
    else:
        meaning = "gives no answer"
    return f"{meaning} (HTTP {status}){': ' * bool(said)}{said}"


def connection_words(error: Exception) -> str:
    """Why there is no connection, as a clause after "cannot be reached: "."""
    match _tls_error(error):
        case ssl.SSLCertVerificationError() as refused:
            return f"its certificate is not trusted ({refused.verify_message})"
        case ssl.SSLError() as broken:
            return f"no encrypted connection can be made ({broken.reason or 'TLS error'})"
        case _:
            return str(error) or type(error).__name__


def is_untrusted(error: Exception) -> bool:
    """Whether another try is in vain: there is a server, and it speaks no TLS that is trusted here."""
    return _tls_error(error) is not None


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
