"""One password that everybody at a desk shares.

The cookie of somebody who gave it says until when it lasts, signed with a key that is made of a random one in the data
folder and of the password: it outlives a restart, and another password ends it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from anyio import CapacityLimiter, to_thread
from starlette.types import Scope

from app.doors.buckets import Clock, Tries, whole_seconds
from app.doors.entrances import network_of
from app.doors.hashing import hashed, is_hash, matches
from app.doors.login.way import Cookie, WrongError

COOKIE = "gearbox_login"
KEY_FILE = "login.key"
_KEY_BYTES = 32
_LASTS_S = 30 * 24 * 3600
_TRIES, _TRIES_PER_S = 5, 1 / 20
_COOKIE = re.compile(r"(?P<until>[0-9]{1,12})\.(?P<nonce>[A-Za-z0-9_-]{22})\.(?P<mac>[0-9a-f]{64})", re.ASCII)


class Password:
    """Signing in with the password.

    Args:
        password: as it is typed, or its argon2 hash.
        key: random bytes that sign the cookies: `signing_key`.
        clock: for the tries, seconds.
        moment: for the cookies, seconds since 1970.
    """

    def __init__(
        self,
        password: str,
        key: bytes,
        clock: Clock = time.monotonic,
        moment: Callable[[], float] = time.time,
    ) -> None:
        self._hash = password if is_hash(password) else hashed(password)
        self._key = hmac.digest(key, password.encode(), "sha256")
        self._tries = Tries(_TRIES, _TRIES_PER_S, clock)
        self._moment = moment
        self._slow = CapacityLimiter(1)  # whoever guesses in parallel must not take all threads

    @property
    def open_paths(self) -> frozenset[str]:
        """None: the form is sent to the page that was asked for."""
        return frozenset()

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Whether the password was given in this browser, less than 30 days ago."""
        found = _COOKIE.fullmatch(cookies.get(COOKIE, ""))
        if not found:
            return False
        signed = self._signature(found["until"], found["nonce"])
        return hmac.compare_digest(signed, found["mac"]) and int(found["until"]) > self._moment()

    def stranger(self, cookies: Mapping[str, str]) -> str | None:
        """Nobody: there are no names."""
        return None

    def sign_in_form(self) -> str:
        """The field for the password. It is sent to the page that was asked for."""
        return (
            '<form method="post"><label for="password">Password</label>'
            '<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>'
            "<button>Sign in</button></form>"
        )

    def sign_out_form(self) -> str:
        """A button: a page of another site cannot press it."""
        return '<form method="post"><button name="leave" value="1">Sign out</button></form>'

    async def sent(self, fields: Mapping[str, str], scope: Scope) -> Cookie:
        """The cookie, for the right password; for who leaves, its end.

        Raises:
            WrongError: the password is not right, or too many from there were not.
        """
        if "leave" in fields:
            return Cookie(COOKIE, "", 0)
        network = network_of(scope)
        if wait_s := self._tries.take(network):
            retry_s = whole_seconds(wait_s)
            raise WrongError(f"Too many passwords from your network were wrong. Wait {retry_s} s.", retry_s)
        if not await to_thread.run_sync(matches, self._hash, fields.get("password", ""), limiter=self._slow):
            raise WrongError("This is not the password.")
        self._tries.was_right(network)
        until, nonce = str(int(self._moment()) + _LASTS_S), secrets.token_urlsafe(16)
        return Cookie(COOKIE, f"{until}.{nonce}.{self._signature(until, nonce)}", _LASTS_S)

    def _signature(self, until: str, nonce: str) -> str:
        return hmac.digest(self._key, f"{until}.{nonce}".encode(), "sha256").hex()


def signing_key(folder: Path) -> bytes:
    """The random key in a folder, made at first; one for this process alone where the folder takes no file."""
    file, draft = folder / KEY_FILE, folder / f"{KEY_FILE}.{secrets.token_hex(8)}"
    key = secrets.token_bytes(_KEY_BYTES)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(key)
            draft.replace(file)
        kept = file.read_bytes()
    except OSError:
        return key
    # one that somebody cut short signs nothing that lasts
    return kept if len(kept) == _KEY_BYTES else hashlib.sha256(key + kept).digest()
