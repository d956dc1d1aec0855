"""The keys of the API: how they look, and what each may do."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

_SECRET = re.compile(r"(?P<prefix>gbx_[0-9a-f]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
_PREFIX_BYTES, _SECRET_BYTES = 4, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What the bearer of a key may ask for; ``None`` is no limit. Counted by each server process for itself."""

    requests_per_minute: int | None = 120
    """So many at once, and then as many a minute."""
    tokens_per_minute: int | None = None
    """Of prompts and answers together. A request begins while any are left, whatever it will take."""
    concurrent: int | None = 8
    """Requests that run at a time."""
    queue: int | None = 32
    """Requests that wait while as many run as may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key as it is kept and shown: never its secret."""

    id: str
    name: str
    """Whose or what for."""
    prefix: str
    """How the secret begins. It tells keys apart, and opens nothing."""
    created_at: datetime
    created_by: str | None
    """The person whose browser made it; ``None`` if a command did."""
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None
    limits: KeyLimits


def new_secret() -> tuple[str, str]:
    """A new key's prefix, and the whole secret: 256 random bits, which nobody can guess."""
    prefix = f"gbx_{secrets.token_hex(_PREFIX_BYTES)}"
    return prefix, f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def prefix_of(secret: str) -> str | None:
    """The prefix of what looks like a key's secret; ``None`` if it cannot be one."""
    found = _SECRET.fullmatch(secret)
    return found["prefix"] if found else None
