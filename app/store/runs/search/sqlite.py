"""SQLite's index: FTS5 over pieces of three letters (its trigram tokenizer), without the texts and without positions.

A run's texts are indexed after it is over, in batches. Triggers keep a list of what is not indexed yet, and take out
what was deleted or changed, so that index and list together always cover every run.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import BigInteger, String, column, delete, func, insert, select, table
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from app.store.database.session import Database
from app.store.runs.records import RunStatus
from app.store.runs.schema import Run, RunContent
from app.store.runs.search.needles import match_query

INDEX = "run_search_index"
INDEXED = table("run_search", column("id", BigInteger), column("run_id", String))
"""Which run has which number in the index."""
PENDING = table("run_search_pending", column("run_id", String))
"""The runs whose texts are not in the index."""
MATCHES = table(INDEX, column("rowid", BigInteger), column("texts", String), column(INDEX, String))
AT_ONCE = 200
"""Runs: what waits to be written must not wait long for them."""
_FIRST_WITH_TRIGRAMS = (3, 34, 0)
_MOST_PENDING = 20_000
"""With more than these not indexed yet, a search reads the runs one by one, the newest first."""


def _texts(row: str) -> str:
    return f"{row}.prompt || char(10) || {row}.text || char(10) || coalesce({row}.error, '')"


_TAKE_OUT = f"""INSERT INTO {INDEX} ({INDEX}, rowid, texts)
    SELECT 'delete', id, {_texts("old")} FROM run_search WHERE run_id = old.run_id;
  DELETE FROM run_search WHERE run_id = old.run_id;"""
_OBJECTS = {
    "run_search": "CREATE TABLE run_search (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id VARCHAR(32) NOT NULL UNIQUE)",
    "run_search_pending": "CREATE TABLE run_search_pending (run_id VARCHAR(32) PRIMARY KEY) WITHOUT ROWID",
    INDEX: f"CREATE VIRTUAL TABLE {INDEX} USING fts5"
    "(texts, content = '', columnsize = 0, detail = none, tokenize = 'trigram')",
    "run_search_begun": """CREATE TRIGGER run_search_begun AFTER INSERT ON run_contents BEGIN
  INSERT OR IGNORE INTO run_search_pending VALUES (new.run_id);
END""",
    "run_search_changed": f"""CREATE TRIGGER run_search_changed AFTER UPDATE OF prompt, text, error ON run_contents
WHEN EXISTS (SELECT 1 FROM run_search WHERE run_id = old.run_id) BEGIN
  {_TAKE_OUT}
  INSERT OR IGNORE INTO run_search_pending VALUES (new.run_id);
END""",
    "run_search_gone": f"""CREATE TRIGGER run_search_gone AFTER DELETE ON run_contents BEGIN
  {_TAKE_OUT}
  DELETE FROM run_search_pending WHERE run_id = old.run_id;
END""",
}
"""Tables and triggers by name, in the order in which they are made."""
_TEXTS = RunContent.prompt + "\n" + RunContent.text + "\n" + func.coalesce(RunContent.error, "")
"""As the triggers put them together."""


class SqliteIndex:
    """The index of one database file. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self._there = False

    @property
    def trouble(self) -> str | None:
        """Why searches read every run, for the user."""
        if sqlite3.sqlite_version_info < _FIRST_WITH_TRIGRAMS:
            return f"SQLite {sqlite3.sqlite_version} cannot index pieces of texts; 3.34 can."
        return None

    def prepare(self) -> None:
        """Make it, empty, where it or a part of it is missing: all runs then wait to be indexed.

        Raises:
            StoreError: the database cannot be used.
        """
        self._there = False
        if self.trouble:
            return
        with self._database.read() as session:
            complete = _there(session) == _OBJECTS.keys()
        if not complete:
            with self._database.write(first=True) as session:
                _make(session)
        self._there = True

    def add_some(self) -> bool:
        """Index some of the runs that are over, the newest first; says whether there are more.

        Raises:
            StoreError: the database cannot be used now.
        """
        if not self._there:
            self.prepare()
            return self._there
        over = (
            select(PENDING.c.run_id)
            .join(Run, Run.id == PENDING.c.run_id)
            .where(Run.status != RunStatus.RUNNING)
            .order_by(PENDING.c.run_id.desc())
            .limit(AT_ONCE)
        )
        with self._database.read() as session:
            ids = session.scalars(over).all()
        if not ids:
            return False
        with self._database.write(hasty=True) as session:
            # those that are still to be indexed: another server may have come first, or somebody deleted them
            still = session.scalars(delete(PENDING).where(PENDING.c.run_id.in_(ids)).returning(PENDING.c.run_id)).all()
            if still:
                session.execute(insert(INDEXED), [{"run_id": run_id} for run_id in still])
                texts = select(INDEXED.c.id, _TEXTS).join(RunContent, RunContent.run_id == INDEXED.c.run_id)
                added = insert(MATCHES).from_select(["rowid", "texts"], texts.where(INDEXED.c.run_id.in_(still)))
                session.execute(added)
        return len(ids) == AT_ONCE

    def waiting(self) -> int:
        """How many runs it does not have yet, those that are under way among them."""
        if not self._there:
            return 0
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(PENDING)) or 0

    def narrows(self, needle: str, most: int) -> bool:
        """Whether it can say which runs may have the needle in them, and those are not more than ``most``."""
        query = match_query(needle)
        if not self._there or not query:
            return False
        pending = select(PENDING.c.run_id).limit(_MOST_PENDING + 1).subquery()
        found = select(MATCHES.c.rowid).where(MATCHES.c[INDEX].match(query)).limit(most + 1).subquery()
        with self._database.read() as session:
            if (session.scalar(select(func.count()).select_from(pending)) or 0) > _MOST_PENDING:
                return False
            return (session.scalar(select(func.count()).select_from(found)) or 0) <= most

    def stop(self) -> None:
        """Nothing to do: a batch is short."""


class may_mention(FunctionElement[Any]):  # noqa: N801 (it stands where SQL functions stand)
    """That a row of `RunContent` may match a query of FTS5, as far as the index knows. On other databases, whose
    indices are used unasked, it is true of every row."""

    type = NullType()  # a Boolean would be compared with 1 on SQLite, and no index be used for it
    inherit_cache = True


@compiles(may_mention, "sqlite")
def _in_index(element: may_mention, compiler: SQLCompiler, **options: Any) -> str:
    query = compiler.process(element.clauses, **options)
    numbers = f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH {query}"
    known = f"SELECT run_id FROM run_search WHERE id IN ({numbers})"
    return f"run_contents.run_id IN ({known} UNION ALL SELECT run_id FROM run_search_pending)"


@compiles(may_mention)
def _of_every_row(element: may_mention, compiler: SQLCompiler, **options: Any) -> str:
    return "true"


def _there(session: Session) -> set[str]:
    """Which of the tables and triggers there are."""
    found = session.connection().exec_driver_sql(
        "SELECT name FROM sqlite_master WHERE name LIKE 'run\\_search%' ESCAPE '\\'"
    )
    return {name for (name,) in found} & _OBJECTS.keys()


def _make(session: Session) -> None:
    there = _there(session)
    if there == _OBJECTS.keys():  # another server was first
        return
    connection = session.connection()
    for name, statement in _OBJECTS.items():
        if name in there:
            connection.exec_driver_sql(f"DROP {'TRIGGER' if 'TRIGGER' in statement else 'TABLE'} {name}")
    for statement in _OBJECTS.values():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT INTO run_search_pending SELECT run_id FROM run_contents")
