"""Which one of the servers on a database does what only one may, until it ends or its process dies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.alerts.schema import ServerLeaseRow
from app.store.database.errors import ConflictError
from app.store.database.identity import now
from app.store.database.owner import Owner
from app.store.database.session import Database

_SEEN_EVERY = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease."""

    host: str
    pid: int
    seen_at: datetime
    here: bool
    """Whether it is this process."""


class ServerLease:
    """A lease of a name. Safe to share between threads."""

    def __init__(self, database: Database, owner: Owner, name: str) -> None:
        """Use a database whose schema is up to date; ``owner`` is this process."""
        self._database = database
        self._owner = owner
        self._name = name

    def take(self) -> bool:
        """Hold it from now on, or go on holding it, unless another server that lives does; says whether it is held.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.read() as session:
            row = session.get(ServerLeaseRow, self._name)
            if row is not None and not self._is_free(row):
                return False
            if row is not None and self._is_own(row) and now() - row.seen_at < _SEEN_EVERY and now() >= row.seen_at:
                return True
        try:
            with self._database.write() as session:
                return self._taken(session)
        except ConflictError:  # another server was first
            return False

    def give_back(self) -> None:
        """Let others have it.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.write(hasty=True) as session:
            row = session.get(ServerLeaseRow, self._name)
            if row is not None and self._is_own(row):
                session.delete(row)

    def holder(self) -> Holder | None:
        """Who holds it; ``None`` where nobody does.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.read() as session:
            row = session.get(ServerLeaseRow, self._name)
            if row is None or (not self._is_own(row) and self._is_free(row)):
                return None
            return Holder(row.owner_host, row.owner_pid, row.seen_at, self._is_own(row))

    def _taken(self, session: Session) -> bool:
        row = session.scalars(
            select(ServerLeaseRow).where(ServerLeaseRow.name == self._name).with_for_update()
        ).one_or_none()
        if row is None:
            row = ServerLeaseRow(name=self._name)
            session.add(row)
        elif not self._is_free(row):
            return False
        mine = self._owner
        row.owner_host, row.owner_pid, row.owner_started, row.owner_lock = mine.host, mine.pid, mine.started, mine.lock
        row.seen_at = now()
        return True

    def _is_own(self, row: ServerLeaseRow) -> bool:
        return _owner_of(row) == self._owner

    def _is_free(self, row: ServerLeaseRow) -> bool:
        if self._is_own(row):
            return True
        folder = self._database.file and self._database.file.parent
        return _owner_of(row).is_gone(folder, seen_at=row.seen_at, now=now())


def _owner_of(row: ServerLeaseRow) -> Owner:
    return Owner(row.owner_host, row.owner_pid, row.owner_started, row.owner_lock)
