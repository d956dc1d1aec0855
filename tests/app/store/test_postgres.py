"""The store on PostgreSQL, beyond what the tests of the store itself show there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, Select, create_engine, event, select, text

from app.store import NEWEST_FIRST, RunOutcome, RunStatus, RunStore, StoreError
from app.store.database.migrate import migrate
from app.store.database.session import Database
from app.store.runs.queries import order
from app.store.runs.schema import Run
from app.store.runs.search.mentioning import mentions
from tests.app.store.test_portability import use_everything
from tests.support.postgres import PostgresServer
from tests.support.stores import create


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of a new run database."""
    name = postgres.copy()
    yield postgres.url(name)
    postgres.drop(name)


def test_everything_works_there(url: str) -> None:
    store = RunStore.open(url)
    use_everything(store)
    store.close()


def test_migrating_again_changes_nothing(url: str) -> None:
    migrate(url)
    migrate(url)


def test_a_server_that_is_away_is_told_of_and_served_by_again(postgres: PostgresServer, url: str) -> None:
    store = RunStore.open(url)
    create(store)
    postgres.halt()
    try:
        with pytest.raises(StoreError):
            store.page()
    finally:
        postgres.go_on()
    assert store.page().total == 1
    create(store)
    assert store.page().total == 2
    store.close()


def test_a_run_that_ends_while_the_server_is_away_is_shown_as_it_ended_and_stored_later(
    postgres: PostgresServer, url: str, tmp_path: Path
) -> None:
    store = RunStore.open(url, [tmp_path])
    run_id, ended = create(store), RunOutcome(RunStatus.FINISHED, "all of it")
    store.save_progress(run_id, "half of it")
    postgres.halt()
    try:
        with pytest.raises(StoreError) as told:
            store.finish_run(run_id, ended)
        store.finish_later(run_id, ended, None, str(told.value))
        assert store.waiting is not None
        assert store.waiting.in_memory_only == 0
        assert store.get(run_id).text == "all of it"
    finally:
        postgres.go_on()
    store._outbox.deliver()
    assert (store.waiting, store.get(run_id).text) == (None, "all of it")
    store.close()


# --- a migration that is cut off ----------------------------------------------------------------------


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[str]:
    """Of a database without a table."""
    postgres._tell("CREATE DATABASE cut_off TEMPLATE template0")
    yield postgres.url("cut_off")
    postgres.drop("cut_off")


def cut_off_at(statement: int, cut: Callable[[int], None]) -> Callable[..., None]:
    """A listener that does it after so many statements, told the process of the session."""
    sent = 0

    def count(connection: object, cursor: psycopg.Cursor[object], *_: object) -> None:
        nonlocal sent
        sent += 1
        if sent == statement:
            cut(cursor.connection.info.backend_pid)

    return count


def tables(url: str) -> int:
    database = Database(url)
    with database.read() as session:
        count = session.scalar(text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
    database.close()
    return int(count or 0)


@pytest.mark.parametrize("statement", [5, 60, 140])
def test_a_migration_whose_session_is_ended_leaves_nothing_and_the_next_one_is_whole(
    postgres: PostgresServer, empty: str, statement: int
) -> None:
    listener = cut_off_at(statement, lambda pid: postgres._tell(f"SELECT pg_terminate_backend({pid})"))
    event.listen(Engine, "after_cursor_execute", listener)
    try:
        with pytest.raises(StoreError):
            migrate(empty)
    finally:
        event.remove(Engine, "after_cursor_execute", listener)
    assert tables(empty) == 0
    RunStore.open(empty).close()
    assert tables(empty) > 30


def test_a_migration_during_which_the_server_dies_leaves_nothing(postgres: PostgresServer, empty: str) -> None:
    listener = cut_off_at(60, lambda _: postgres.halt())
    event.listen(Engine, "after_cursor_execute", listener)
    try:
        with pytest.raises(StoreError):
            migrate(empty)
    finally:
        event.remove(Engine, "after_cursor_execute", listener)
        postgres.go_on()
    assert tables(empty) == 0
    migrate(empty)


@pytest.mark.parametrize(
    ("asked", "without"),
    [
        (select(Run.id).order_by(*order(NEWEST_FIRST)).limit(50), "Sort"),
        (select(Run.id).where(mentions("sky", narrowed=False)).order_by(*order(NEWEST_FIRST)).limit(50), "hashed"),
    ],
)
def test_the_newest_runs_are_found_by_an_index(url: str, asked: Select[str], without: str) -> None:
    engine = create_engine(url)
    statement = str(asked.compile(engine, compile_kwargs={"literal_binds": True}))
    with engine.connect() as connection:
        for way in ("seqscan", "bitmapscan"):
            connection.exec_driver_sql(f"SET enable_{way} = off")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}").scalars())
    engine.dispose()
    assert "ix_runs_created_at_id" in plan
    assert without not in plan
