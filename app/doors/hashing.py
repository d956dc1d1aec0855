"""Passwords and keys at rest: argon2id, with the least cost that OWASP's password storage guide asks for."""

from __future__ import annotations

import secrets
import threading
from functools import cache

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_ONE_AT_A_TIME = threading.Lock()
"""Strangers who guess take no more than one core from the engine."""


def hashed(secret: str) -> str:
    """A salted hash in the PHC format, ``$argon2id$…``, about 20 ms of work."""
    return _HASHER.hash(secret)


def is_hash(text: str) -> bool:
    """Whether a text is such a hash."""
    try:
        extract_parameters(text)
    except InvalidHashError:
        return False
    return True


def matches(hash: str, secret: str) -> bool:
    """Whether a hash is a secret's, found out in the time of making one. Waits while another is looked at."""
    with _ONE_AT_A_TIME:
        try:
            return _HASHER.verify(hash, secret)
        except VerificationError:
            return False


@cache
def nobodys() -> str:
    """The hash of a secret that nobody has: looking at it costs what looking at somebody's does."""
    return hashed(secrets.token_urlsafe())
