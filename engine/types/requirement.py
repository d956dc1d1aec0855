"""How the types refuse a value, in the user's words, and how they keep a text: as one that everything can hold."""

from __future__ import annotations

from typing import Any

from engine.errors import InvalidRequestError
from engine.untrusted import valid_text


def require(holds: bool, message: str) -> None:
    """Raise ``InvalidRequestError(message)`` unless ``holds``."""
    if not holds:
        raise InvalidRequestError(message)


def keep_valid_text(instance: Any, *names: str) -> None:
    """Make texts of a frozen dataclass :func:`~engine.untrusted.valid_text`, ``None`` aside, while it is made.

    So the tokenizer, the configuration's hash, the store and every export see the very same characters.
    """
    for name in names:
        text = getattr(instance, name)
        if text is not None:
            object.__setattr__(instance, name, valid_text(text))
