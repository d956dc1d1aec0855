"""PostgreSQL's index: GIN over pieces of three letters (its extension pg_trgm), which the server keeps up itself."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from sqlalchemy import Connection, func, or_, select, text
from sqlalchemy.exc import DBAPIError

from app.store.database.session import Database
from app.store.runs.schema import RunContent
from app.store.runs.search.needles import SHORTEST

_log = logging.getLogger(__name__)

INDEX = "ix_run_contents_search"
_IS_THERE = text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
_PIECES = ", ".join(f"{column} gin_trgm_ops" for column in ("prompt", "text", "error"))
_MAKE = f"CREATE INDEX CONCURRENTLY {INDEX} ON run_contents USING gin ({_PIECES})"
_ONE_SERVER = text("SELECT pg_try_advisory_lock(:key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:key)")
_ADVISORY_LOCK = 0x7365_6172  # "sear"


class PostgresIndex:
    """The index of one database. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self._there = False
        self._making: Connection | None = None
        self._stopped = threading.Event()
        self.trouble: str | None = None
        """Why searches read every run, for the user."""

    def prepare(self) -> None:
        """Look whether it is there.

        Raises:
            StoreError: the database cannot be used.
        """
        with self._database.read() as session:
            self._there = bool(session.scalar(_IS_THERE, {"name": INDEX}))

    def add_some(self) -> bool:
        """Make it if it is not there, beside whoever reads and writes; one that was left half made is made anew.

        Raises:
            StoreError: the database cannot be used now.
        """
        if not self._there and not self.trouble and not self._stopped.is_set():
            self.prepare()
            if not self._there:
                self._make()
        return False

    def waiting(self) -> int:
        """How many runs are not searched by it: all, while it is being made."""
        if not self._there:
            self.prepare()  # another server may have made it
        if self._there or self.trouble:
            return 0
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(RunContent)) or 0

    def narrows(self, needle: str, most: int) -> bool:
        """Whether it can say which runs have the needle in their texts, and those are not more than ``most``."""
        if not self._there or len(needle) < SHORTEST:
            return False
        texts = (RunContent.prompt, RunContent.text, RunContent.error)
        found = select(RunContent.run_id).where(or_(*(each.icontains(needle, autoescape=True) for each in texts)))
        with self._database.read() as session:
            return (session.scalar(select(func.count()).select_from(found.limit(most + 1).subquery())) or 0) <= most

    def stop(self) -> None:
        """Leave off making it: the next server begins anew."""
        self._stopped.set()
        making = self._making
        if making is not None:
            with suppress(DBAPIError):
                making.connection.driver_connection.cancel()  # type: ignore[union-attr]

    def _make(self) -> None:
        with self._database.outside_transactions() as connection:
            if not connection.scalar(_ONE_SERVER, {"key": _ADVISORY_LOCK}):  # another server is at it
                return
            self._making = connection
            try:
                if self._has_pieces(connection):
                    connection.exec_driver_sql(f"DROP INDEX IF EXISTS {INDEX}")
                    connection.exec_driver_sql(_MAKE)
                    self._there = True
            finally:
                self._making = None
                connection.execute(_UNLOCK, {"key": _ADVISORY_LOCK})

    def _has_pieces(self, connection: Connection) -> bool:
        """Whether the extension is there, or can be brought in."""
        try:
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        except DBAPIError as error:
            why = str(error.orig).splitlines()[0]
            self.trouble = f"PostgreSQL's extension pg_trgm cannot be used ({why}): have an administrator create it."
            _log.warning("Texts are not indexed. %s", self.trouble)
            return False
        self.trouble = None
        return True
