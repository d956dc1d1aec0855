"""Sessions on the run database: how a connection is set up, and how its errors are told to the user."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from app.store.database.errors import ConflictError, FileLostError, StoreError, in_words, sqlite_code
from app.store.database.folding import SQLITE_FUNCTION, fold
from app.store.database.open_files import OpenFiles, companions

_log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5_000
"""How long a SQLite operation waits for another process before it gives up."""
RESULT_BUSY_TIMEOUT_MS = 1_000
"""The same, for a result, which the outbox keeps if it cannot be written."""
HASTY_BUSY_TIMEOUT_MS = 250
"""The same, for a write that can as well be left to the next one."""
_STALE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR)
"""After these, connections are opened anew: one that was opened for reading only stays so when the rights come back."""
_BEGINNINGS = 3
"""How often a transaction is begun where the log was deleted meanwhile."""

# Execution options that `_configure_sqlite` reads; other databases ignore them.
_BEGIN = "gearbox_begin"
_TIMEOUT_MS = "gearbox_timeout_ms"
_SYNCHRONOUS = "gearbox_synchronous"
_FILES = "gearbox_files"
"""In a connection's info: the files it has open."""
_SET = "gearbox_set"
"""There too: which timeout and way of writing it was last set to."""

_WHOLE = "What was in it is in the database: nothing is lost."
_PERHAPS_NOT_WHOLE = "Another process had begun one before: look whether the latest runs are there."


class _LogLostError(Exception):
    """A connection's log was deleted or replaced: another connection must be used."""


class Database:
    """One database and the sessions on it. Safe to share between threads.

    A watched one looks, as each transaction begins, whether the files at its path are the ones it has open.
    """

    def __init__(self, database_url: str, *, foreign_keys: bool = True, watched: bool = False) -> None:
        """Prepare to connect; nothing is opened yet, but a SQLite file's folder is made.

        Args:
            database_url: a SQLAlchemy URL.
            foreign_keys: whether SQLite keeps to them.
            watched: whether a SQLite file that is deleted or replaced is noticed. It must be there then.

        Raises:
            StoreError: the URL cannot be used, or the folder cannot be made.
        """
        self.url = _parse(database_url)
        self.file = Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None
        """The SQLite file; ``None`` on any other database."""
        if self.file:
            _make_folder(self.file)
        try:
            self.engine = create_engine(self.url, pool_pre_ping=not self.file)
        except (NoSuchModuleError, ImportError) as error:
            raise StoreError(f"The run database {self} needs a driver that is not installed: {error}.") from error
        self.before_write: Callable[[], None] = lambda: None
        """Called before each write that may build on results which wait."""
        self._files: OpenFiles | None = None
        """What a watched database has open; ``None`` until then."""
        self.log_lost: str | None = None
        """What became of a watched file's log that was deleted, for the user."""
        if self.file:
            _configure_sqlite(self.engine, foreign_keys=foreign_keys)
            if watched:
                self._watch(self.file)
        self._sessions = sessionmaker(self.engine)
        self._turn = threading.Lock()

    def __str__(self) -> str:
        return str(self.file) if self.file else self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading."""
        with self._translating_errors(), self._begun({}) as session:
            yield session

    @contextmanager
    def write(self, *, hasty: bool = False, first: bool = False) -> Iterator[Session]:
        """A session that is committed at the end, or leaves nothing behind if anything is raised.

        Results that wait are written before it: it may build on them. Not before a hasty one, which gives up after a
        quarter of a second where another process is writing, nor before one that asks to be ``first``.
        """
        if not hasty and not first:
            self.before_write()
        with self._writing(HASTY_BUSY_TIMEOUT_MS if hasty else BUSY_TIMEOUT_MS, hasty=hasty) as session:
            yield session

    @contextmanager
    def write_result(self, *, durable: bool = False) -> Iterator[Session]:
        """A session for one result, like `write`'s, that does not wait long for others. A durable one has reached
        the disk when it is committed."""
        with self._writing(RESULT_BUSY_TIMEOUT_MS, "FULL" if durable else "NORMAL") as session:
            yield session

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        """A bare connection in one write transaction, table definitions included."""
        with self._translating_errors(), self.engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as bare:
            yield bare

    @contextmanager
    def outside_transactions(self) -> Iterator[Connection]:
        """A bare connection for what a database does in no transaction; each statement stands for itself."""
        options = {_BEGIN: None} if self.file else {"isolation_level": "AUTOCOMMIT"}
        with self._translating_errors(), self.engine.execution_options(**options).connect() as bare:
            yield bare

    def use_write_ahead_log(self) -> None:
        """Let SQLite's readers and its writer work at once. Kept in the file."""
        with self.outside_transactions() as bare:
            bare.exec_driver_sql("PRAGMA journal_mode = WAL")

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        """Turn the database's errors into `StoreError`."""
        try:
            yield
        except IntegrityError as error:
            raise ConflictError(in_words(str(self), error)) from error
        except DBAPIError as error:
            if sqlite_code(error) in _STALE:
                self.engine.dispose()
            raise StoreError(in_words(str(self), error)) from error
        except PoolTimeoutError as error:
            raise StoreError(f"The run database {self} has too many operations open at once. Try again.") from error

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.engine.dispose()

    # --- the files --------------------------------------------------------------------------------

    @property
    def file_lost(self) -> str | None:
        """What became of a watched file that was deleted or replaced, for the user; ``None`` if it is in its place."""
        return self._lost(OpenFiles.at(self.file)) if self.file and self._files else None

    def _lost(self, there: OpenFiles) -> str | None:
        """The same, of the files that are there."""
        if not self.file or not self._files or there.main == self._files.main:
            return None
        what = "replaced by another file" if self.file.exists() else "deleted or moved away"
        return (
            f"The file of the run database {self} was {what} while Gearbox was using it. Put the old file back in its "
            "place, or choose “Open what is there now” in the sidebar. Until then nothing is read or stored; new "
            "results wait."
        )

    def leave_lost_file(self) -> None:
        """Make a file that was moved away whole, and clear its log out of the way of the file that is there now."""
        if not self.file or not self._files or not self.file_lost:
            return
        with suppress(StoreError), self._translating_errors():
            raw = self.engine.raw_connection()
            if raw.info.get(_FILES) == self._files:
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raw.close()
        there = OpenFiles.at(self.file)
        if there.log == self._files.log and there.index == self._files.index:
            for path in companions(self.file):
                path.unlink(missing_ok=True)  # they would be read into the new file

    def forget_file(self) -> None:
        """Take what is at the path with the next connection."""
        self._files = None
        self.close()

    @contextmanager
    def _writing(self, timeout_ms: int, synchronous: str = "NORMAL", *, hasty: bool = False) -> Iterator[Session]:
        """A session that is committed at the end. A reader that turns writer is refused at once where another wrote
        meanwhile: writers lock first."""
        options = {_BEGIN: "BEGIN IMMEDIATE", _TIMEOUT_MS: timeout_ms, _SYNCHRONOUS: synchronous}
        with self._translating_errors(), self._in_turn(hasty=hasty), self._begun(options) as session:
            yield session
            session.commit()

    @contextmanager
    def _in_turn(self, *, hasty: bool) -> Iterator[None]:
        """SQLite's writers of this process, one after the other. Left to SQLite, each looks now and then whether the
        file is free, with longer and longer pauses: where many write, one that always looks too late gives up, though
        no other process is at work.

        Whoever has waited here for long tries all the same: it may be another process that keeps everybody waiting.
        Who is in haste gives up.
        """
        limit_ms = HASTY_BUSY_TIMEOUT_MS if hasty else BUSY_TIMEOUT_MS
        mine = self.file is not None and self._turn.acquire(timeout=limit_ms / 1000)
        if hasty and self.file is not None and not mine:
            raise StoreError(f"Other results are being written into the run database {self}.")
        try:
            yield
        finally:
            if mine:
                self._turn.release()

    @contextmanager
    def _begun(self, options: Mapping[str, Any]) -> Iterator[Session]:
        """A session whose transaction has begun, with some execution options, on the files that are at the path."""
        for attempt in range(_BEGINNINGS):
            with self._sessions() as session:
                try:
                    session.connection(execution_options=options)
                except _LogLostError as error:
                    if attempt < _BEGINNINGS - 1:
                        continue
                    raise StoreError(
                        f"The log (-wal) of the run database {self} is deleted again and again. Find out what does "
                        "it, then try again."
                    ) from error
                yield session
                return

    def _watch(self, file: Path) -> None:
        @event.listens_for(self.engine, "do_connect")
        def never_create(_dialect: object, _entry: object, arguments: list[Any], options: dict[str, Any]) -> None:
            arguments[0] = f"file:{quote(str(file.resolve()))}?mode=rw"
            options["uri"] = True
            if lost := self.file_lost:
                raise FileLostError(lost)

        @event.listens_for(self.engine, "connect")
        def remember(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            cursor.execute("SELECT count(*) FROM sqlite_master")  # opens the log
            cursor.close()
            entry.info[_FILES] = opened = OpenFiles.at(file)
            if self._files is None or self._files.main == opened.main:
                self._files = opened

        @event.listens_for(self.engine, "begin")
        def look(connection: Connection) -> None:
            opened, there = connection.info[_FILES], OpenFiles.at(file)
            lost = self._lost(there)
            if there == opened and not lost:
                return
            connection.exec_driver_sql("ROLLBACK")
            if lost:
                raise FileLostError(lost)
            self._leave_log(connection, opened, there)

    def _leave_log(self, connection: Connection, opened: OpenFiles, there: OpenFiles) -> None:
        """Give up a connection whose log or index was deleted. What it holds goes into the file first, unless others
        have begun another log meanwhile."""
        whole = there.log in (None, opened.log) and there.index in (None, opened.index)
        if whole:
            busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            if busy:
                raise StoreError(
                    f"The log (-wal) of the run database {self} was deleted while it was in use. Try again."
                )
        self.log_lost = (
            f"The log (-wal, -shm) of the run database {self} was deleted or replaced while it was open. A new one was "
            "begun. " + (_WHOLE if whole else _PERHAPS_NOT_WHOLE)
        )
        _log.warning(self.log_lost)
        connection.invalidate()
        self.engine.dispose()
        raise _LogLostError


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
        cursor.close()
        connection.create_function(SQLITE_FUNCTION, 1, fold, deterministic=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        wanted = options.get(_TIMEOUT_MS, BUSY_TIMEOUT_MS), options.get(_SYNCHRONOUS, "NORMAL")
        if connection.info.get(_SET) != wanted:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {wanted[0]}")
            connection.exec_driver_sql(f"PRAGMA synchronous = {wanted[1]}")
            connection.info[_SET] = wanted
        if statement := options.get(_BEGIN, "BEGIN"):
            connection.exec_driver_sql(statement)
