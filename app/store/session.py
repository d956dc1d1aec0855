"""Sessions on the run database: how a connection is set up, and how its errors are told to the user."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from app.store.errors import StoreError
from app.store.folding import SQLITE_FUNCTION, fold

BUSY_TIMEOUT_MS = 5_000
"""How long a SQLite operation waits for another process before it gives up."""
HASTY_BUSY_TIMEOUT_MS = 250
"""The same, for a write that can as well be left to the next one."""

# Execution options that `_configure_sqlite` reads; other databases ignore them.
_BEGIN = "gearbox_begin"
_TIMEOUT_MS = "gearbox_timeout_ms"


class Database:
    """One database and the sessions on it. Safe to share between threads."""

    def __init__(self, database_url: str, *, foreign_keys: bool = True) -> None:
        """Prepare to connect; nothing is opened yet, but a SQLite file's folder is made.

        Raises:
            StoreError: the URL cannot be used, or the folder cannot be made.
        """
        self.url = _parse(database_url)
        if self.file:
            _make_folder(self.file)
        try:
            self.engine = create_engine(self.url, pool_pre_ping=not self.file)
        except (NoSuchModuleError, ImportError) as error:
            raise StoreError(f"The run database {self} needs a driver that is not installed: {error}.") from error
        if self.file:
            _configure_sqlite(self.engine, foreign_keys=foreign_keys)
        # A reader that turns writer is refused at once where another wrote meanwhile: writers lock first.
        immediate = self.engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
        self._readers = sessionmaker(self.engine)
        self._writers = sessionmaker(immediate)
        self._hasty_writers = sessionmaker(immediate.execution_options(**{_TIMEOUT_MS: HASTY_BUSY_TIMEOUT_MS}))

    def __str__(self) -> str:
        return str(self.file) if self.file else self.url.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file; ``None`` on any other database."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading."""
        with self._translating_errors(), self._readers() as session:
            yield session

    @contextmanager
    def write(self, *, hasty: bool = False) -> Iterator[Session]:
        """A session that is committed at the end, or leaves nothing behind if anything is raised.

        A hasty one gives up after a quarter of a second where another process is writing.
        """
        with self._translating_errors(), (self._hasty_writers if hasty else self._writers).begin() as session:
            yield session

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        """A bare connection in one write transaction, table definitions included."""
        with self._translating_errors(), self.engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as bare:
            yield bare

    def use_write_ahead_log(self) -> None:
        """Let SQLite's readers and its writer work at once. Kept in the file."""
        with self._translating_errors(), self.engine.execution_options(**{_BEGIN: None}).connect() as bare:
            bare.exec_driver_sql("PRAGMA journal_mode = WAL")  # not possible in a transaction

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        """Turn the database's errors into `StoreError`."""
        try:
            yield
        except DBAPIError as error:
            raise StoreError(self._explain(error)) from error
        except PoolTimeoutError as error:
            raise StoreError(f"The run database {self} has too many operations open at once. Try again.") from error

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()

    def _explain(self, error: DBAPIError) -> str:
        # The low byte is the primary code; the rest refines it.
        match getattr(error.orig, "sqlite_errorcode", -1) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return f"The run database {self} is locked by another process. Close what holds it, then try again."
            case sqlite3.SQLITE_FULL:
                return f"The disk that holds the run database {self} is full. Free some space, then try again."
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                return (
                    f"The file {self} is damaged, or is not a run database. It was left as it is: move it away, "
                    "or set GEARBOX_DATABASE_URL to another one."
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return f"The run database {self} cannot be opened for writing. Check the rights of the file and folder."
            case sqlite3.SQLITE_IOERR:
                return f"The disk that holds the run database {self} reports an error: {error.orig}."
            case _:
                return f"The run database {self} reports an error: {str(error.orig).splitlines()[0]}"


def _parse(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise StoreError("GEARBOX_DATABASE_URL is no database URL, such as sqlite:////path/to/gearbox.db.") from error
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError("The run database must be a file: one in memory would keep nothing.")
    return url


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"The folder of the run database cannot be made: {error}.") from error


def _configure_sqlite(engine: Engine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # Off means that the driver begins no transaction by itself: `begin` below does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()
        connection.create_function(SQLITE_FUNCTION, 1, fold, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {options.get(_TIMEOUT_MS, BUSY_TIMEOUT_MS)}")
        if statement := options.get(_BEGIN, "BEGIN"):
            connection.exec_driver_sql(statement)
