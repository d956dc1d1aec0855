"""Brings the schema of a run database up to date: one process at a time, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import Connection, text

from app.store.database.errors import StoreError
from app.store.database.session import Database

MIGRATIONS = Path(__file__).parent.parent / "migrations"
LOCK_TIMEOUT_S = 60.0
_ADVISORY_LOCK = 0x6765_6172  # "gear"


def migrate(database_url: str, *, migrations: Path = MIGRATIONS) -> None:
    """Create or upgrade the tables. Where another process is at it, wait for that one.

    Raises:
        StoreError: the database cannot be used, was made by a newer version, or could not be
            upgraded. It is then as it was before.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    # SQLite's foreign keys stay off: a migration that rebuilds a table would cascade into the others.
    database = Database(database_url, foreign_keys=False)
    try:
        with _alone(database), database.migration() as connection:
            _upgrade(connection, config, database)
    finally:
        database.close()


def is_known(revision: str) -> bool:
    """Whether this version of Gearbox can bring a database of a revision up to date."""
    known = ScriptDirectory(str(MIGRATIONS))
    return revision in {script.revision for script in known.walk_revisions()}


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    if not database.file:
        yield  # the transaction takes an advisory lock instead
        return
    try:
        with FileLock(f"{database.file}.lock", timeout=LOCK_TIMEOUT_S):
            database.use_write_ahead_log()
            yield
    except Timeout as error:
        raise StoreError(
            f"Another process has been preparing the run database {database} for over {LOCK_TIMEOUT_S:.0f} s. "
            "Try again when it is done."
        ) from error
    except OSError as error:
        raise StoreError(f"The run database {database} cannot be opened for writing: {error}.") from error


def _upgrade(connection: Connection, config: Config, database: Database) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    known = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_heads()
    if tuple(current) == tuple(known.get_heads()):
        return
    if not set(current) <= {script.revision for script in known.walk_revisions()}:
        raise StoreError(
            f"The run database {database} was made by a newer version of Gearbox. Update Gearbox, or set "
            "GEARBOX_DATABASE_URL to another database."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
