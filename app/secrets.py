"""Texts that are kept encrypted: the key comes from outside, and never lies beside the database.

A sealed text is Fernet's (AES-128-CBC and HMAC-SHA256) with the name of its key before it, so that a missing key is
told apart from an altered text. The first key seals, all open: so a key is replaced.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256
from typing import Self

from app.settings import Settings
from engine.errors import GearboxError

_KEY_BYTES = 32
_NAME_CHARACTERS = 8
_SEALED = re.compile(rf"gearbox-sealed:(?P<key>[0-9a-f]{{{_NAME_CHARACTERS}}}):(?P<token>[A-Za-z0-9_=-]+)", re.ASCII)
_ALTERED = "A secret in the run database was altered. Restore a copy of the database, or enter the secret again."


class SecretsError(GearboxError):
    """A sealed text cannot be opened."""


class Secrets:
    """Seals and opens texts. Safe to share between threads."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Use keys that `new_key` made: the first seals, all open."""
        self._keys = {_name_of(key): key for key in keys}
        self._first = next(iter(self._keys), None)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """With the keys of the settings."""
        return cls(settings.secret_keys)

    @property
    def can_keep(self) -> bool:
        """Whether there is a key to seal with."""
        return self._first is not None

    @property
    def older_keys(self) -> int:
        """How many keys only open."""
        return max(0, len(self._keys) - 1)

    def seal(self, text: str) -> str | None:
        """A text as it may be kept; ``None`` where there is no key, so that it cannot be kept secret."""
        if self._first is None:
            return None
        from cryptography.fernet import Fernet

        token = Fernet(self._keys[self._first]).encrypt(text.encode()).decode()
        return f"gearbox-sealed:{self._first}:{token}"

    def open(self, sealed: str) -> str:
        """The text that was sealed.

        Raises:
            SecretsError: its key is not there, or it was altered since.
        """
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise SecretsError(_ALTERED)
        key = self._keys.get(found["key"])
        if key is None:
            stands = "is another key" if self.can_keep else "is not set"
            raise SecretsError(
                f"A secret in the run database was sealed with a key, and GEARBOX_SECRET_KEY {stands}. Add the key "
                "that it was sealed with, after the newer one and a comma, or enter the secret again."
            )
        from cryptography.fernet import Fernet, InvalidToken

        try:
            return Fernet(key).decrypt(found["token"]).decode()
        except InvalidToken as error:
            raise SecretsError(_ALTERED) from error

    def is_due(self, kept: str) -> bool:
        """Whether a text that is kept should be sealed (anew) with the first key, and can be."""
        found = _SEALED.fullmatch(kept)
        return self.can_keep and (found is None or (found["key"] != self._first and found["key"] in self._keys))


NO_SECRETS = Secrets()
"""Where there is no key."""


def is_sealed(text: str) -> bool:
    """Whether a text that is kept was sealed."""
    return _SEALED.fullmatch(text) is not None


def new_key() -> str:
    """A key for GEARBOX_SECRET_KEY: 256 random bits, as Fernet takes them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def _name_of(key: str) -> str:
    """What tells a key from others, and nothing about it."""
    return sha256(b"gearbox secret key\0" + key.encode()).hexdigest()[:_NAME_CHARACTERS]
