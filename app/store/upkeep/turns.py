"""Which server does what only one of those on a database is to do: the first that asks, until it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from app.store.database.errors import ConflictError
from app.store.database.identity import now
from app.store.database.owner import Owner
from app.store.database.session import Database
from app.store.upkeep.schema import UpkeepTurn

_SEEN_EVERY = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Holder:
    """Which process has a turn."""

    host: str
    pid: int
    seen_at: datetime
    here: bool
    """Whether it is this process."""


class Turns:
    """Safe to share between threads."""

    def __init__(self, database: Database, owner: Owner) -> None:
        """Use a database whose schema is up to date; ``owner`` is this process."""
        self._database = database
        self._owner = owner

    def is_ours(self, task: str) -> bool:
        """Whether this process is to do it, which it is from now on if nobody else is.

        A process of another machine that was silent for minutes has lost its turn, and may not know: a task must bear
        being done twice.

        Args:
            task: what is to be done, a name of at most 64 characters.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.read() as session:
            row = session.get(UpkeepTurn, task)
            if row is not None and not self._is_free(row):
                return False
            if row is not None and self._is_own(row) and timedelta(0) <= now() - row.seen_at < _SEEN_EVERY:
                return True
        try:
            with self._database.write(hasty=True) as session:
                row = session.scalar(select(UpkeepTurn).where(UpkeepTurn.task == task).with_for_update())
                if row is not None and not self._is_free(row):
                    return False
                session.merge(
                    UpkeepTurn(
                        task=task,
                        owner_host=self._owner.host,
                        owner_pid=self._owner.pid,
                        owner_started=self._owner.started,
                        owner_lock=self._owner.lock,
                        seen_at=now(),
                    )
                )
        except ConflictError:  # another server asked first at the very same time
            return False
        return True

    def give_back(self, task: str) -> None:
        """Let others do it.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.write(hasty=True) as session:
            row = session.get(UpkeepTurn, task)
            if row is not None and self._is_own(row):
                session.delete(row)

    def holder(self, task: str) -> Holder | None:
        """Who does it; ``None`` where nobody does.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.read() as session:
            row = session.get(UpkeepTurn, task)
            if row is None or (not self._is_own(row) and self._is_free(row)):
                return None
            return Holder(row.owner_host, row.owner_pid, row.seen_at, self._is_own(row))

    def _is_free(self, row: UpkeepTurn) -> bool:
        """Whether it is this process's already, or its owner's no longer."""
        folder = self._database.file and self._database.file.parent
        return self._is_own(row) or _owner(row).is_gone(folder, seen_at=row.seen_at, now=now())

    def _is_own(self, row: UpkeepTurn) -> bool:
        return _owner(row) == self._owner


def _owner(row: UpkeepTurn) -> Owner:
    return Owner(row.owner_host, row.owner_pid, row.owner_started, row.owner_lock)
