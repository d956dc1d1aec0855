"""The repository of remote models."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Self

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.remote.prices import ListPrice
from app.secrets import Secrets, SecretsError
from app.store.database.errors import ConflictError, GoneError
from app.store.database.identity import new_id, now
from app.store.database.migrate import migrate
from app.store.database.session import Database
from app.store.remote.records import KeptRemote, NewRemote
from app.store.remote.schema import RemoteModelRow


class RemoteStore:
    """Keeps them. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database

    @classmethod
    def open(cls, database_url: str) -> Self:
        """Open the database for them alone, bringing its schema up to date.

        Args:
            database_url: a SQLAlchemy URL.
        """
        migrate(database_url)
        return cls(Database(database_url))

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def all(self) -> tuple[KeptRemote, ...]:
        """All of them, by name."""
        with self._database.read() as session:
            rows = session.scalars(select(RemoteModelRow).order_by(RemoteModelRow.name)).all()
        return tuple(map(_to_kept, rows))

    def named(self, name: str) -> KeptRemote | None:
        """The one of a name; ``None`` if there is none."""
        with self._database.read() as session:
            row = _named(session, name)
            return None if row is None else _to_kept(row)

    def add(self, remote: NewRemote) -> KeptRemote:
        """Keep a new one.

        Raises:
            ConflictError: its name is taken.
        """
        with self._database.write() as session:
            _check_free(session, remote.name, None)
            row = RemoteModelRow(id=new_id(), created_at=now())
            _set(row, remote)
            session.add(row)
            session.flush()
            return _to_kept(row)

    def change(self, remote_id: str, remote: NewRemote) -> KeptRemote:
        """Describe one anew. What the last test found goes with an address or a model that it was not found of.

        Raises:
            ConflictError: another one has the name.
            GoneError: it was removed.
        """
        with self._database.write() as session:
            row = _row(session, remote_id)
            _check_free(session, remote.name, remote_id)
            if _asked_for(row) != _asked_for(remote):
                row.abilities, row.tested_at = None, None
            _set(row, remote)
            session.flush()
            return _to_kept(row)

    def remove(self, remote_id: str) -> None:
        """Forget one with its key; nothing happens if it is gone."""
        with self._database.write() as session:
            session.execute(delete(RemoteModelRow).where(RemoteModelRow.id == remote_id))

    def seal_anew(self, secrets: Secrets) -> None:
        """Seal with the first key what an older one of them opens, so that the older one can go; what cannot be opened
        stays as it is."""
        with self._database.read() as session:
            rows = session.execute(select(RemoteModelRow.id, RemoteModelRow.sealed_key)).all()
        for id, sealed in rows:
            if sealed is None or not secrets.is_due(sealed):
                continue
            row = RemoteModelRow
            with suppress(SecretsError), self._database.write() as session:
                anew = secrets.seal(secrets.open(sealed))
                # a key that was given meanwhile stays
                session.execute(update(row).where(row.id == id, row.sealed_key == sealed).values(sealed_key=anew))

    def found(self, remote: KeptRemote, abilities: Mapping[str, Any]) -> None:
        """Keep what a connection test found, unless the address or the model was changed since it began.

        Raises:
            GoneError: it was removed.
        """
        with self._database.write() as session:
            row = _row(session, remote.id)
            if _asked_for(row) == _asked_for(remote):
                row.abilities, row.tested_at = dict(abilities), now()


def _asked_for(one: RemoteModelRow | NewRemote) -> tuple[str | None, ...]:
    """What a connection test is about."""
    return one.url, one.served_name, one.metrics_url


def _set(row: RemoteModelRow, remote: NewRemote) -> None:
    row.name, row.url, row.served_name = remote.name, remote.url, remote.served_name
    row.metrics_url = remote.metrics_url
    row.sealed_key, row.has_key, row.key_variable = remote.sealed_key, remote.has_key, remote.key_variable
    price = remote.price
    row.input_price, row.output_price = (price.input_per_million, price.output_per_million) if price else (None, None)
    row.cached_price = price.cached_per_million if price else None
    row.changed_at = now()


def _row(session: Session, remote_id: str) -> RemoteModelRow:
    row = session.get(RemoteModelRow, remote_id)
    if row is None:
        raise GoneError("This server is no longer there: it may have been removed in another window.")
    return row


def _named(session: Session, name: str) -> RemoteModelRow | None:
    return session.scalars(select(RemoteModelRow).where(RemoteModelRow.name == name)).first()


def _check_free(session: Session, name: str, own_id: str | None) -> None:
    row = _named(session, name)
    if row is not None and row.id != own_id:
        raise ConflictError(f"There is a server called {name} already: choose another name.")


def _to_kept(row: RemoteModelRow) -> KeptRemote:
    price = None
    if row.input_price is not None and row.output_price is not None:
        price = ListPrice(row.input_price, row.output_price, row.cached_price)
    return KeptRemote(
        id=row.id,
        name=row.name,
        url=row.url,
        served_name=row.served_name,
        metrics_url=row.metrics_url,
        price=price,
        sealed_key=row.sealed_key,
        has_key=row.has_key,
        key_variable=row.key_variable,
        abilities=row.abilities,
        tested_at=row.tested_at,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
