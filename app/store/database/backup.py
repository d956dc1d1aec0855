"""Copies of a run database, made while it is in use, and put back in its place."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from app.store.database import postgres_backup
from app.store.database.errors import StoreError, in_words
from app.store.database.held_file import HeldFile, Hold
from app.store.database.migrate import is_known, migrate
from app.store.database.open_files import companions
from app.store.database.session import Database

_LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the databases."""

    bytes: int
    """Of the one that was put in place."""
    aside: Path | None
    """Where the one that was there before lies now; ``None`` if there was none."""
    aside_schema: str | None = None
    """The same of a PostgreSQL database."""


def back_up(database_url: str, target: Path) -> int:
    """Copy a run database into a new file, as it is at one moment; whoever reads and writes goes on. The file is there
    only once it is whole.

    Returns:
        its bytes.

    Raises:
        StoreError: it is no run database of Gearbox; the target is there already or cannot be written; the copy is
            damaged; PostgreSQL's programs are missing or fail.
    """
    if target.exists():
        raise StoreError(f"{target} is there already. Choose another name.")
    with closing(Database(database_url)) as database:
        if database.file is None:
            postgres_backup.back_up(database, target, is_known)
        else:
            _check_revision(database.file)
            _copy(database.file, target)
    return target.stat().st_size


def restore(database_url: str, source: Path, moment: datetime) -> Restored:
    """Put a copy in the place of a run database, and bring it up to date. What was there is kept beside it.

    Args:
        database_url: of the database.
        source: a copy, as :func:`back_up` makes it.
        moment: now, which names what is kept.

    Raises:
        StoreError: a server is using the database; the copy is none of Gearbox's, is of a newer version, or is
            damaged or cannot be brought up to date; a file cannot be written or moved; PostgreSQL's programs are not
            there or fail. What was there is in its place then, or the error says where it lies.
    """
    if not source.is_file():
        raise StoreError(f"There is no file {source}.")
    with closing(Database(database_url)) as database:
        if database.file is None:
            bring_up = partial(migrate, database_url)
            schema = postgres_backup.restore(database, source, moment, is_known=is_known, migrate=bring_up)
            return Restored(source.stat().st_size, None, schema)
        return _restore_file(database.file, source, moment)


def _restore_file(file: Path, source: Path, moment: datetime) -> Restored:
    if file.exists() and source.samefile(file):
        raise StoreError(f"{source} is the run database itself.")
    _check_revision(source)
    fresh = file.with_name(f"{file.name}.restoring")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            _remove(fresh)
            try:
                _copy(source, fresh)
                _bring_up_to_date(fresh)
                aside = _swap(fresh, file, moment)
            finally:
                _remove(fresh)
            return Restored(file.stat().st_size, aside)
    except OSError as error:
        raise StoreError(f"{source} cannot be put in the place of {file}: {error}.") from error


def _bring_up_to_date(fresh: Path) -> None:
    """Migrate a copy that nobody else knows of; it is one file afterwards too."""
    migrate(URL.create("sqlite", database=str(fresh)).render_as_string())
    with _in_words(fresh), closing(sqlite3.connect(fresh)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _remove(fresh: Path) -> None:
    for left in (fresh, *companions(fresh), fresh.with_name(f"{fresh.name}.lock")):
        left.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a database through SQLite, check the copy, and give it its name."""
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        with _in_words(source), closing(_open(source)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, with no log beside it
        with _in_words(part), closing(sqlite3.connect(part)) as new:
            _check_whole(new, source)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error}.") from error
    finally:
        for left in (part, *companions(part), part.with_name(f"{part.name}-journal")):
            left.unlink(missing_ok=True)


def _check_whole(connection: sqlite3.Connection, source: Path) -> None:
    found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise StoreError(f"The copy of {source} is damaged ({'; '.join(found)[:300]}), and was not kept.")


def _check_revision(file: Path) -> None:
    """Refuse what is no run database, or one that this version does not know."""
    if not file.exists():
        raise StoreError(f"There is no run database {file} yet.")
    with _in_words(file), closing(_open(file)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"alembic_version", "runs", "run_contents"} <= tables:
            raise StoreError(f"{file} is no run database of Gearbox.")
        revisions = {str(revision) for (revision,) in connection.execute("SELECT version_num FROM alembic_version")}
    if not all(map(is_known, revisions)):
        raise StoreError(f"{file} was made by a newer version of Gearbox. Update Gearbox first.")


def _open(file: Path) -> sqlite3.Connection:
    """A connection that makes no file."""
    connection = sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=rw", uri=True, timeout=_LOCK_TIMEOUT_S)
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """While no server has the database open, and none starts."""
    try:
        with FileLock(f"{file}.lock", timeout=_LOCK_TIMEOUT_S):
            servers = file.parent.glob(f"{file.name}.server-*")
            if any(HeldFile.look(path) is Hold.HELD for path in servers):
                raise StoreError(f"A server is using the run database {file}. Stop it, then try again.")
            yield
    except Timeout as error:
        raise StoreError(f"Another process is preparing the run database {file}. Try again.") from error


def _swap(fresh: Path, file: Path, moment: datetime) -> Path | None:
    """Move a database away with its log, so that both can be opened there, and another one to its place. Where that
    fails, it is moved back."""
    if not file.exists():
        fresh.replace(file)
        return None
    aside = file.with_name(f"{file.name}.replaced-{moment:%Y%m%d-%H%M%S}")
    if aside.exists():
        raise StoreError(f"{aside} is there already. Try again in a second.")
    moved: list[tuple[Path, Path]] = []
    try:
        for old in (*companions(file), file):
            if old.exists():
                new = aside.with_name(aside.name + old.name.removeprefix(file.name))
                shutil.move(old, new)
                moved.append((old, new))
        fresh.replace(file)
    except OSError as error:
        _move_back(moved, error)
        raise StoreError(f"The copy cannot take the place of {file}: {error}. Nothing has changed.") from error
    return aside


def _move_back(moved: list[tuple[Path, Path]], why: OSError) -> None:
    try:
        for old, new in reversed(moved):
            shutil.move(new, old)
    except OSError as error:
        lie = ", ".join(f"{new} (was {old})" for old, new in moved if new.exists())
        raise StoreError(
            f"The copy could not be put in place ({why}), and what was there not be moved back ({error}). Move it back "
            f"yourself: {lie}."
        ) from error


@contextmanager
def _in_words(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(in_words(str(file), DBAPIError("", None, error))) from error
