"""A store on each database that it can be kept in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.store import RunStore
from tests.support.postgres import PostgresServer, programs
from tests.support.stores import new_database

POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.slow)
OF_FILES = {"test_faults", "test_files", "outbox", "test_owners", "test_turns"}
"""Modules, and a room of them, about SQLite's files and its lock."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both databases for a test that knows nothing of the file."""
    if "store" in metafunc.fixturenames:
        of_file = "file" in metafunc.definition._fixtureinfo.argnames
        of_file |= not OF_FILES.isdisjoint(metafunc.module.__name__.split("."))
        metafunc.parametrize("store", ["sqlite"] if of_file else ["sqlite", POSTGRESQL], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with an up-to-date run database to copy."""
    installed = programs()
    if installed is None:
        if os.environ.get("GEARBOX_REQUIRE_POSTGRES"):
            pytest.fail("PostgreSQL is not installed.")
        pytest.skip("PostgreSQL is not installed.")
    server = PostgresServer.start(installed)
    RunStore.open(server.url(server.template)).close()
    yield server
    server.stop()


@pytest.fixture
def store(request: pytest.FixtureRequest, file: Path) -> Iterator[RunStore]:
    """An empty run store."""
    if request.param == "sqlite":
        store = RunStore.open(new_database(file))
        yield store
        store.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.copy()
    store = RunStore.open(server.url(name))
    yield store
    store.close()
    server.drop(name)
