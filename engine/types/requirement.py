"""How the types refuse a value: in the user's words."""

from __future__ import annotations

from engine.errors import InvalidRequestError


def require(holds: bool, message: str) -> None:
    """Raise ``InvalidRequestError(message)`` unless ``holds``."""
    if not holds:
        raise InvalidRequestError(message)
