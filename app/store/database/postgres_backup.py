"""Copies of a PostgreSQL run database by its own programs, pg_dump and pg_restore, and put back in its place.

What was there before is moved into a schema of its own, so that it can be moved back. Passwords go to the programs by
their environment, never by the command line, which others on a machine can read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from app.store.database.columns import Base
from app.store.database.errors import StoreError
from app.store.database.session import Database

_NEEDED = frozenset({"alembic_version", "runs", "run_contents"})
_VERSION = "alembic_version"
_MADE_ANEW = frozenset({"ix_run_contents_search"})
"""What a server makes by itself where it is missing, and needs an extension for."""
_ENTRY = re.compile(
    r"(?P<id>\d+); \d+ \d+ (?P<kind>TABLE DATA|TABLE|DEFAULT|CONSTRAINT|CHECK CONSTRAINT|FK CONSTRAINT|INDEX|"
    r"SEQUENCE OWNED BY|SEQUENCE SET|SEQUENCE) \S+ (?P<name>\S+) "
)
"""An entry of a copy's list of a kind that is restored: "215; 1259 16385 TABLE public runs owner"."""
_OF_NO_TABLE = ("INDEX", "SEQUENCE")
"""How kinds begin whose entries name no table, but say below on what they depend."""
_DEPENDS_ON = ";\tdepends on:"
_LONGEST = 300


def back_up(database: Database, target: Path, is_known: Callable[[str], bool]) -> None:
    """Copy the tables of a run database into a new file in pg_dump's own format, and read the copy to its end. What
    else is in their schema is left out.

    Args:
        database: which; others may go on using it.
        target: where the copy is to be.
        is_known: whether this version of Gearbox knows a revision.

    Raises:
        StoreError: a program is missing or fails; it is no run database of this version; the file cannot be written.
    """
    for program in ("pg_dump", "pg_restore"):
        _path(database, program)
    with database.outside_transactions() as connection:
        schema = _schema(connection)
        tables = _ours(connection, schema)
        if not _NEEDED.issubset(tables):
            raise StoreError(f"{database} is no run database of Gearbox.")
        revisions = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSION}").scalars().all()
    _check(str(database), map(str, revisions), is_known)
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _run(database, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={part}",
             *(f'--table="{schema}"."{table}"' for table in tables))  # fmt: skip
        _run(database, "pg_restore", f"--file={os.devnull}", str(part))
        part.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def restore(
    database: Database,
    source: Path,
    moment: datetime,
    *,
    is_known: Callable[[str], bool],
    migrate: Callable[[], None],
) -> str | None:
    """Put a copy in the place of a run database. Only Gearbox's tables are read from it, whatever else it holds.

    Args:
        database: which.
        source: a copy, as :func:`back_up` makes it.
        moment: now, which names what is kept.
        is_known: whether this version of Gearbox knows a revision.
        migrate: brings the database up to date.

    Returns:
        The schema that has what was there before; ``None`` where there was nothing.

    Raises:
        StoreError: a program is missing or fails; somebody uses the database; the copy is none of Gearbox's, or of a
            newer version. What was there is in its place then, or the error says where it lies.
    """
    entries = _entries_of_ours(_run(database, "pg_restore", "--list", "--verbose", str(source)))
    if not _NEEDED.issubset(entry["name"] for entry in entries if entry["kind"] == "TABLE DATA"):
        raise StoreError(f"{source} is no copy of a run database of Gearbox.")
    _check(str(source), _revisions(database, source), is_known)
    aside = f"gearbox_replaced_{moment:%Y%m%d_%H%M%S}"
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen, _moved(database, aside) as there_before:
        chosen.write("\n".join(entry.string for entry in entries))
        chosen.flush()
        _run(database, "pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges",
             f"--use-list={chosen.name}", f"--dbname={database.url.database or ''}", str(source))  # fmt: skip
        migrate()
    return aside if there_before else None


_TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema")
_OTHERS_HERE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


@contextmanager
def _moved(database: Database, aside: str) -> Iterator[bool]:
    """With all tables of the run database in another schema; whether there were any. Where the block raises, what it
    made is dropped, and they are moved back. Where they lie is said before, lest somebody end it midway."""
    with database.migration() as connection:
        if others := connection.scalar(_OTHERS_HERE):
            raise StoreError(
                f"The run database {database} is in use, by {others:,} other connections. Stop the servers, then try "
                "again."
            )
        schema = _schema(connection)
        moved = _ours(connection, schema)
        if moved:
            sys.stderr.write(
                f"Until the copy is in place, what is in the run database now lies in the schema {aside}.\n"
            )
            connection.exec_driver_sql(f'CREATE SCHEMA "{aside}"')
            _move(connection, moved, schema, aside)
    database.close()
    try:
        yield bool(moved)
    except BaseException as error:
        _move_back(database, moved, schema, aside, error)
        raise


def _move_back(database: Database, moved: Sequence[str], schema: str, aside: str, why: BaseException) -> None:
    try:
        with database.migration() as connection:
            for table in _ours(connection, schema):
                connection.exec_driver_sql(f'DROP TABLE "{schema}"."{table}" CASCADE')
            if moved:
                _move(connection, moved, aside, schema)
                connection.exec_driver_sql(f'DROP SCHEMA "{aside}"')
    except StoreError as error:
        raise StoreError(
            f"The copy could not be put in place ({why}), and what was there not be moved back ({error}). "
            + (f"It lies in the schema {aside}: move its tables back yourself." if moved else "There was nothing.")
        ) from error


def _move(connection: Connection, tables: Sequence[str], old: str, new: str) -> None:
    for table in tables:
        connection.exec_driver_sql(f'ALTER TABLE "{old}"."{table}" SET SCHEMA "{new}"')


def _ours(connection: Connection, schema: str) -> list[str]:
    return sorted(_known().intersection(connection.scalars(_TABLES, {"schema": schema})))


def _known() -> set[str]:
    return {*Base.metadata.tables, _VERSION}


def _schema(connection: Connection) -> str:
    return str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())


def _entries_of_ours(listing: str) -> list[re.Match[str]]:
    """The entries of a copy's list that are restored: Gearbox's tables, and what is of them."""
    known, chosen, ids = _known(), [], set[str]()
    for line, below in pairwise([*listing.splitlines(), ""]):
        entry = _ENTRY.match(line)
        if entry is None or entry["name"] in _MADE_ANEW:
            continue
        if entry["kind"].startswith(_OF_NO_TABLE):
            ours = not ids.isdisjoint(below.partition(_DEPENDS_ON)[2].split())
        else:
            ours = entry["name"] in known
        if ours:
            ids.add(entry["id"])
            chosen.append(entry)
    return chosen


def _revisions(database: Database, source: Path) -> list[str]:
    said = _run(database, "pg_restore", "--data-only", f"--table={_VERSION}", "--file=-", str(source)).splitlines()
    begun = next((place for place, line in enumerate(said) if line.startswith("COPY ")), len(said))
    return [line for line in said[begun + 1 : begun + 2] if line != "\\."]


def _check(what: str, revisions: Iterator[str] | Sequence[str], is_known: Callable[[str], bool]) -> None:
    if not all(map(is_known, revisions)):
        raise StoreError(f"{what} was made by a newer version of Gearbox. Update Gearbox first.")


def _run(database: Database, program: str, *arguments: str) -> str:
    """What a program of PostgreSQL says.

    Raises:
        StoreError: it is not there, or fails.
    """
    environment = {**os.environ, **_environment(database), "LC_MESSAGES": "C"}
    command = [_path(database, program), "--no-password", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if ended.returncode:
        said = " ".join(ended.stderr.split())[:_LONGEST]
        raise StoreError(f"{program} failed on the run database {database}: {said or 'it says nothing'}")
    return ended.stdout


def _path(database: Database, program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise StoreError(
            f"The run database {database} is PostgreSQL's, and its program {program} is not installed here. Install "
            "PostgreSQL's client programs (Debian: postgresql-client), of the server's version or later."
        )
    return path


def _environment(database: Database) -> dict[str, str]:
    """How to connect, as libpq's variables."""
    from psycopg import pq

    _, given = database.engine.dialect.create_connect_args(database.url)
    known: Mapping[str, Any] = given
    return {
        option.envvar.decode(): str(known[option.keyword.decode()])
        for option in pq.Conninfo.get_defaults()
        if option.envvar and known.get(option.keyword.decode()) is not None
    }
