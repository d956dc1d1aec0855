"""PostgreSQL's index over texts."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from app.store import RunStore
from app.store.database.session import Database
from app.store.runs.search.postgres import INDEX
from tests.support.postgres import PostgresServer
from tests.support.searching import found, index_all, keep

pytestmark = pytest.mark.slow


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of a new run database."""
    name = postgres.copy()
    yield postgres.url(name)
    postgres.drop(name)


def drop_index(database: Database) -> None:
    with database.write() as session:
        session.execute(text(f"DROP INDEX IF EXISTS {INDEX}"))


def test_searches_go_by_the_index_once_it_is_made(url: str) -> None:
    store, database = RunStore.open(url), Database(url)
    store._upkeep.close()
    drop_index(database)
    store.texts.prepare()
    run_id = keep(store, "where the quokka lives")
    assert store.texts.waiting() == 1
    assert not store.texts.narrows("quokka", 10)
    index_all(store)
    assert (store.texts.waiting(), store.texts.trouble) == (0, None)
    assert store.texts.narrows("quokka", 10)
    assert found(store, "QUOKKA") == {run_id}
    with database.write() as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.scalars(text("EXPLAIN SELECT run_id FROM run_contents WHERE text ILIKE '%quokka%'")))
    assert INDEX in plan
    database.close()
    store.close()


def test_an_index_left_half_made_is_made_anew(url: str) -> None:
    store, database = RunStore.open(url), Database(url)
    store._upkeep.close()
    index_all(store)
    with database.write() as session:
        mark = f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{INDEX}'::regclass"
        session.execute(text(mark))
    store.texts.prepare()
    index_all(store)
    with database.read() as session:
        valid = text(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{INDEX}'::regclass")
        assert session.scalar(valid) is True
    database.close()
    store.close()


def test_without_the_extension_searches_read_every_run_and_say_so(url: str) -> None:
    store, database = RunStore.open(url), Database(url)
    store._upkeep.close()
    with database.write() as session:
        session.execute(text(f"DROP INDEX IF EXISTS {INDEX}"))
        session.execute(text("DROP EXTENSION IF EXISTS pg_trgm"))
        session.execute(text("CREATE ROLE nobody_much LOGIN"))
        session.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO nobody_much"))
    store.close()
    poor = RunStore.open(url.replace("postgres@", "nobody_much@"))
    poor._upkeep.close()
    run_id = keep(poor, "where the quokka lives")
    index_all(poor)
    assert poor.texts.trouble is not None
    assert "pg_trgm" in poor.texts.trouble
    assert found(poor, "quokka") == {run_id}
    poor.close()
    database.close()
