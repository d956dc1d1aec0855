"""Keys for OpenAI-compatible servers. No message tells one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from engine.errors import InvalidRequestError


def checked_key(key: str, where: str) -> str | None:
    """A key without the blanks around it; ``None`` for none.

    Args:
        key: as it was given.
        where: it was given, in the user's words.

    Raises:
        InvalidRequestError: a header cannot hold it.
    """
    key = key.strip()
    if key and not re.fullmatch(r"[!-~]+", key):
        raise InvalidRequestError(f"The key in {where} holds characters that cannot be sent.")
    return key or None


def key_in(variable: str, environ: Mapping[str, str]) -> str:
    """The key that a variable holds.

    Raises:
        InvalidRequestError: it is not set, or a header cannot hold what is in it.
    """
    if (key := key_from([variable], environ)) is None:
        raise InvalidRequestError(f"{variable} is not set: it is to hold the key.")
    return key


def key_from(names: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The key to send, from the first of some variables that is set; ``None`` without one.

    Raises:
        InvalidRequestError: a header cannot hold it.
    """
    for name in names:
        if key := checked_key(environ.get(name, ""), name):
            return key
    return None
