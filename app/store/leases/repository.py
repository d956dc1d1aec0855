"""Who goes on with something right now: one job at a time, of whatever process, until it ends or its process dies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.store.database.identity import now
from app.store.database.owner import Owner
from app.store.database.session import Database
from app.store.leases.records import StartedFrom, UnderWay
from app.store.leases.schema import Lease
from engine.errors import GearboxError

_SEEN_EVERY = timedelta(minutes=1)


class UnderWayError(GearboxError):
    """What was to be gone on with is gone on with already, elsewhere."""

    def __init__(self, name: str, under_way: UnderWay) -> None:
        self.under_way = under_way
        super().__init__(
            f"“{name}” is running already, {under_way.where}. {under_way.how_to_pause}, or wait until it is done: its "
            "page shows how far it is."
        )


class Leases:
    """One for each experiment, autopilot or round of work that somebody goes on with. Safe to share between threads."""

    def __init__(self, database: Database, owner: Owner) -> None:
        """Use a database whose schema is up to date; ``owner`` is this process."""
        self._database = database
        self._owner = owner
        self._held: set[str] = set()
        """What jobs of this process go on with."""
        self.deciding = threading.Lock()
        """Held while it is decided who goes on, and until that is known."""

    def take(self, session: Session, id: str, name: str, started_from: StartedFrom) -> None:
        """In a transaction, while it is being decided: what :meth:`hold` makes known once that is committed.

        Args:
            session: of the transaction.
            id: of what is gone on with.
            name: what it is called.
            started_from: where its job was started.

        Raises:
            UnderWayError: somebody else's it is.
        """
        row = session.get(Lease, id, with_for_update=True)
        if row is not None and (under_way := self._under_way(row)) is not None:
            raise UnderWayError(name, under_way)
        session.merge(
            Lease(
                id=id,
                started_from=started_from,
                owner_host=self._owner.host,
                owner_pid=self._owner.pid,
                owner_started=self._owner.started,
                owner_lock=self._owner.lock,
                seen_at=now(),
            )
        )

    def hold(self, id: str) -> None:
        """It is this process's from now on."""
        self._held.add(id)

    def give_back(self, session: Session, id: str) -> None:
        """In a transaction: it is nobody's any more, if it was this process's."""
        if id in self._held:
            session.execute(delete(Lease).where(Lease.id == id))

    def let_go(self, id: str) -> None:
        """Nothing of this process goes on with it. What could not be given back is tidied up later."""
        self._held.discard(id)

    def under_way(self, session: Session) -> Mapping[str, UnderWay]:
        """All that somebody goes on with, by id."""
        rows = session.scalars(select(Lease)).all()
        return {row.id: found for row in rows if (found := self._under_way(row)) is not None}

    def tidy_up(self) -> None:
        """Remove what dead processes left, and show that this one lives. Writes only where there is something to."""
        with self.deciding:
            with self._database.read() as session:
                rows = session.scalars(select(Lease)).all()
                if not any(self._is_over(row) or self._is_due(row) for row in rows):
                    return
            with self._database.write() as session:
                for row in session.scalars(select(Lease)):
                    if self._is_over(row):
                        session.delete(row)
                    elif self._is_due(row):
                        row.seen_at = now()

    def _is_over(self, row: Lease) -> bool:
        return self._under_way(row) is None

    def _is_due(self, row: Lease) -> bool:
        return row.id in self._held and now() - row.seen_at > _SEEN_EVERY

    def _under_way(self, row: Lease) -> UnderWay | None:
        owner = Owner(row.owner_host, row.owner_pid, row.owner_started, row.owner_lock)
        here = owner == self._owner
        folder = self._database.file and self._database.file.parent
        if row.id not in self._held if here else owner.is_gone(folder, seen_at=row.seen_at, now=now()):
            return None
        other_host = None if owner.host == socket.gethostname() else owner.host
        return UnderWay(StartedFrom(row.started_from), other_host, owner.pid, here=here)
