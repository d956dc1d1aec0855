"""What the store can fail with, in the user's words."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

from engine.errors import GearboxError


class StoreError(GearboxError):
    """The run database could not do what was asked; what it already held is unharmed."""


class FileLostError(StoreError):
    """The database's file was deleted or replaced while it was open: nothing is read from it or written to it."""


class ConflictError(StoreError):
    """What was to be written does not fit what the database holds; trying again will not help."""


class GoneError(StoreError):
    """What was asked for, or what it belongs to, was deleted, or never was."""


class RunNotFoundError(GoneError):
    """No run has that id: it was deleted, or never was."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"There is no run {run_id[:32]}: it may have been deleted.")


class RunOfAnotherError(RunNotFoundError):
    """A run that whoever asks may not see."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.args = ("This run belongs to somebody else.",)


class ConversationNotFoundError(GoneError):
    """No conversation has that id: it was deleted, or never was."""

    def __init__(self, conversation_id: str) -> None:
        self.conversation_id = conversation_id
        super().__init__("This conversation is no longer there: it may have been deleted in another window.")


class ConversationOfAnotherError(ConversationNotFoundError):
    """A conversation that whoever asks may not see."""

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id)
        self.args = ("This conversation belongs to somebody else.",)


def sqlite_code(error: DBAPIError) -> int:
    """SQLite's primary code, which is the low byte; the rest refines it."""
    return int(getattr(error.orig, "sqlite_errorcode", -1)) & 0xFF


def in_words(database: str, error: DBAPIError) -> str:
    """What went wrong with a run database, for the user.

    Args:
        database: its file or address.
        error: what its driver says.
    """
    match sqlite_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"The run database {database} is locked by another process. Close what holds it, then try again."
        case sqlite3.SQLITE_FULL:
            return f"The disk that holds the run database {database} is full. Free some space, then try again."
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            return (
                f"The file {database} is damaged, or is not a run database. It was left as it is: move it away, "
                "or set GEARBOX_DATABASE_URL to another one."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"The run database {database} cannot be opened for writing. Check the rights of the file and folder."
        case sqlite3.SQLITE_IOERR:
            return f"The disk that holds the run database {database} reports an error: {error.orig}."
        case _:
            return f"The run database {database} reports an error: {str(error.orig).splitlines()[0]}"
