"""The store on PostgreSQL, beyond what the tests of the store itself show there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.store import RunStore, StoreError
from app.store.database.migrate import migrate
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
