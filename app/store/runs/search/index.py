"""The index over the texts of runs, on whichever database: made and filled while the server runs.

It is derived from the runs, so it is no part of the schema: it is made where it is missing, and made anew where a part
of it is gone.
"""

from __future__ import annotations

from typing import Protocol

from app.store.database.session import Database
from app.store.runs.search.postgres import PostgresIndex
from app.store.runs.search.sqlite import SqliteIndex

MOST_NARROWED = 20_000
"""A text that more runs may have in them is common: the newest runs are read instead, until enough are found."""


class TextIndex(Protocol):
    """What finds the runs that may have a text in them."""

    @property
    def trouble(self) -> str | None:
        """Why searches read every run, for the user; ``None`` where the index is there or on its way."""

    def prepare(self) -> None:
        """Make it where it is missing, if that is quick."""

    def add_some(self) -> bool:
        """Go on with filling it; says whether there is more to do."""

    def waiting(self) -> int:
        """How many runs it does not have yet; searches read those."""

    def narrows(self, needle: str, most: int) -> bool:
        """Whether it can say which runs may have the needle in them, and those are not more than ``most``."""

    def stop(self) -> None:
        """Leave off what :meth:`add_some` is at."""


def text_index(database: Database) -> TextIndex:
    """The index of a database."""
    return SqliteIndex(database) if database.file else PostgresIndex(database)
