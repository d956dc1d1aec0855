"""Who calls: whose run it becomes, and whose kept prefixes it may reuse."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, Self

from starlette.requests import Request


class Key(Protocol):
    """A caller's key, as the doors put it into ``request.state.key``."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str:
        """Whose or what for."""

    @property
    def created_by(self) -> str | None:
        """The person whose browser made it; ``None`` if a command did."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    person_id: str | None
    """Whose the runs are: of whoever made the key, or else of the key alone; ``None`` for the desk, without a key."""
    user: str | None
    """For whom, as it is kept with the run."""
    key_name: str | None
    """What the key is called; ``None`` without one."""
    cache_salt: str
    """Callers with the same one reuse each other's prefixes: nobody but those with the same key and ``user``."""

    @classmethod
    def of(cls, request: Request, user: str | None) -> Self:
        """Whoever sent a request.

        Args:
            request: behind the doors; without these, it has no key.
            user: OpenAI's field: the client's own name for whom it asks.
        """
        key: Key | None = getattr(request.state, "key", None)
        salt = f"api:{_digest('cache', key.id if key else '', user or '')}"
        if key is None:
            return cls(None, user, None, salt)
        return cls(key.created_by or _digest("key", key.id), user or key.name, key.name, salt)


def spend(request: Request, tokens: int) -> None:
    """Let the doors count what a request used, prompt and answer together."""
    counter = getattr(request.state, "spend", None)
    if counter:
        counter(tokens)


def _digest(*parts: str) -> str:
    """32 hex digits, from which the parts cannot be told."""
    return hashlib.sha256("\0".join(("gearbox api", *parts)).encode()).hexdigest()[:32]
