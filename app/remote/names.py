"""What remote models are called: a name that people give them, with an @ before it wherever a model is named."""

from __future__ import annotations

import re

from engine.errors import InvalidRequestError
from engine.types import REMOTE_MARK

MOST_CHARACTERS = 40
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def is_name(text: str) -> bool:
    """Whether a remote model can be called so, its @ included."""
    return text.startswith(REMOTE_MARK) and _NAME.fullmatch(text[len(REMOTE_MARK) :]) is not None


def checked_name(text: str) -> str:
    """A name as it is kept: in small letters, with the @ before it.

    Raises:
        InvalidRequestError: it is none; the message says what one is made of.
    """
    name = text.strip().removeprefix(REMOTE_MARK).lower()
    if not name:
        raise InvalidRequestError("Give the server a name, such as office-gpu.")
    if len(name) > MOST_CHARACTERS:
        raise InvalidRequestError(f"A server's name has at most {MOST_CHARACTERS} characters.")
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(
            "A server's name is made of the letters a to z, digits, dots, hyphens and underscores, and begins with a "
            f"letter or a digit: “{text.strip()[:MOST_CHARACTERS]}” is none."
        )
    return REMOTE_MARK + name
