"""The repository of the API's keys.

A secret has 256 random bits, so nobody finds one by trying, however fast a try is; its slow hash is for whoever reads
the database. Therefore a process looks at the slow hash once for each key, and then knows the secret again by its
SHA-256, which it keeps in memory alone. Whatever it does not know again takes the time of the slow hash: a wrong secret
of a key that is there, a key that is not there and one that was revoked are alike.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from datetime import timedelta
from typing import Self

from sqlalchemy import select

from app.doors.hashing import hashed, matches, nobodys
from app.doors.keys import Key, KeyLimits, new_secret, prefix_of
from app.store.database.errors import ConflictError, GoneError, StoreError
from app.store.database.identity import new_id, now
from app.store.database.migrate import migrate
from app.store.database.session import Database
from app.store.keys.schema import ApiKeyRow

NAME_CHARACTERS = 60
MOST = 1_000_000_000
"""Of whatever is limited."""
_USE_IS_KEPT_EVERY = timedelta(minutes=1)
_log = logging.getLogger(__name__)


class KeyStore:
    """Keeps the API's keys. Safe to share between threads; what another process revokes is refused at once.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self._known: dict[str, tuple[str, bytes]] = {}
        """By prefix: the slow hash that was looked at, and the SHA-256 of the secret that it is of."""

    @classmethod
    def open(cls, database_url: str) -> Self:
        """Open the database for the keys alone, bringing its schema up to date.

        Args:
            database_url: a SQLAlchemy URL.
        """
        migrate(database_url)
        return cls(Database(database_url))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def create(self, name: str, limits: KeyLimits, *, created_by: str | None = None) -> tuple[Key, str]:
        """Make a key, and return it with its secret, which is kept nowhere and never shown again.

        Args:
            name: whose or what for, on one line; cut to 60 characters.
            limits: what its bearer may ask for.
            created_by: the person who makes it.

        Raises:
            ConflictError: the name is empty, or a limit is less than what lets one request through.
        """
        # it is shown on terminals too, which take some characters for orders
        shown = "".join(each for each in name if each.isprintable() or each.isspace())
        name = " ".join(shown.split())[:NAME_CHARACTERS].rstrip()
        if not name:
            raise ConflictError("Give the key a name: whose it is, or what it is for.")
        _check(limits)
        prefix, secret = new_secret()
        row = ApiKeyRow(
            id=new_id(),
            name=name,
            prefix=prefix,
            hash=hashed(secret),
            created_at=now(),
            created_by=created_by,
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            concurrent=limits.concurrent,
            queue=limits.queue,
        )
        with self._database.write() as session:
            session.add(row)
            session.flush()
            return _to_key(row), secret

    def list(self) -> tuple[Key, ...]:
        """All keys, revoked ones too, the newest first."""
        row = ApiKeyRow
        with self._database.read() as session:
            return tuple(_to_key(each) for each in session.scalars(select(row).order_by(row.created_at.desc(), row.id)))

    def revoke(self, prefix: str) -> Key:
        """End a key for good. One that was revoked before stays as it is.

        Raises:
            GoneError: there is no such key.
        """
        with self._database.write() as session:
            row = session.scalars(select(ApiKeyRow).where(ApiKeyRow.prefix == prefix)).first()
            if row is None:
                raise GoneError("There is no key with this prefix. `gearbox keys list` shows those that there are.")
            row.revoked_at = row.revoked_at or now()
            session.flush()
            return _to_key(row)

    def known(self, secret: str) -> Key | None:
        """The key of a secret that this process has met before, found fast; ``None`` says nothing about the others."""
        row = self._row(prefix_of(secret))
        known = self._known.get(row.prefix) if row else None
        if row is None or known is None or row.revoked_at is not None:
            return None
        hash, digest = known
        return self._used(row) if hash == row.hash and hmac.compare_digest(digest, _digest(secret)) else None

    def check(self, secret: str) -> Key | None:
        """The key of a secret; ``None`` if it is none, or was revoked. Takes some 20 ms, whichever."""
        row = self._row(prefix_of(secret))
        if not matches(row.hash if row else nobodys(), secret) or row is None or row.revoked_at is not None:
            return None
        self._known[row.prefix] = row.hash, _digest(secret)
        return self._used(row)

    def _row(self, prefix: str | None) -> ApiKeyRow | None:
        if prefix is None:
            return None
        with self._database.read() as session:
            return session.scalars(select(ApiKeyRow).where(ApiKeyRow.prefix == prefix)).first()

    def _used(self, row: ApiKeyRow) -> Key:
        """Keep that a key was used, unless that was done a moment ago or the database is busy."""
        moment = now()
        if row.last_used_at is None or moment - row.last_used_at > _USE_IS_KEPT_EVERY:
            try:
                with self._database.write(hasty=True) as session:
                    kept = session.get(ApiKeyRow, row.id)
                    if kept:
                        kept.last_used_at = moment
            except StoreError as error:
                _log.warning("That the key %s was used is not kept: %s", row.prefix, error)
        return _to_key(row)


def _check(limits: KeyLimits) -> None:
    at_least_one = limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent
    for least, numbers in ((1, at_least_one), (0, (limits.queue,))):
        if any(number is not None and not least <= number <= MOST for number in numbers):
            raise ConflictError(f"A limit is a whole number from 1, or from 0 for the queue, to {MOST:,}.")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _to_key(row: ApiKeyRow) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        created_at=row.created_at,
        created_by=row.created_by,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        limits=KeyLimits(
            requests_per_minute=row.requests_per_minute,
            tokens_per_minute=row.tokens_per_minute,
            concurrent=row.concurrent,
            queue=row.queue,
        ),
    )
