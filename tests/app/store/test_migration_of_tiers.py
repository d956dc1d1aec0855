"""What 0030 brought into columns of runs: who answered of cascades, what they failed with, by which key they came."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from app.store.database.migrate import MIGRATIONS, migrate
from app.store.database.session import Database
from tests.support.postgres import PostgresServer

CASCADE = {"optimization": {"cascade": {"smaller": [{"model": "small", "precision": "int4"}]}}}
ALONE: dict[str, object] = {"optimization": {}}
RUN = text(
    'INSERT INTO runs (id, created_at, status, session_id, source, "user", model, backend, precision, config_hash, '
    "seed, rating, note, owner_host, owner_pid, owner_started, seen_at) VALUES (:id, 1, :status, '', :source, :user, "
    "'m', 'local', 'bf16', :config_hash, 0, 0, '', 'host', 1, 1.0, 1)"
)
CONTENT = text(
    "INSERT INTO run_contents (run_id, prompt, text, error_kind, messages, config, environment, cascade) "
    "VALUES (:id, 'Hi', 'Hello', :error_kind, '[]', :config, '{}', :cascade)"
)
KEY = text("INSERT INTO api_keys (id, name, prefix, hash, created_at) VALUES ('k', 'ci', 'p', 'h', 1)")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of a database with nothing in it."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'gearbox.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.copy()
    database = Database(server.url(name))
    with database.migration() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    database.close()
    yield server.url(name)
    server.drop(name)


def report(*tiers: str) -> str:
    return json.dumps({"attempts": [{"tier": tier} for tier in tiers]})


def add(connection: Connection, id: str, config: object, cascade: str | None, **given: str | None) -> None:
    known = {"status": "finished", "source": "chat", "user": None, "error_kind": None, **given}
    config_hash = "c" if config == CASCADE else "a"
    connection.execute(RUN, {**known, "id": id, "config_hash": config_hash})
    connection.execute(CONTENT, {**known, "id": id, "config": json.dumps(config), "cascade": cascade})


def test_runs_of_before_know_who_answered_them(url: str, tmp_path: Path) -> None:
    before = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, before)
    for file in (before / "versions").glob("*.py"):
        if file.name[:4] > "0029":
            file.unlink()
    migrate(url, migrations=before)
    database = Database(url)
    with database.migration() as connection:
        connection.execute(KEY)
        for number in range(5):  # more than are read at once
            add(connection, f"{number}", CASCADE, report("small int4", *["m bf16"] * (number % 2)))
        add(connection, "empty", CASCADE, report())
        add(connection, "null", CASCADE, "null")
        add(connection, "none", CASCADE, None)
        add(connection, "alone", ALONE, None)
        add(connection, "failed", ALONE, None, status="failed", error_kind="InsufficientMemoryError")
        add(connection, "key", ALONE, None, source="api", user="ci")
        add(connection, "no-key", ALONE, None, source="api", user="somebody")
    now = tmp_path / "now"
    shutil.copytree(MIGRATIONS, now)
    (revision,) = (now / "versions").glob("0030*.py")
    source = revision.read_text()
    assert "_ROWS_AT_ONCE = 500\n" in source
    revision.write_text(source.replace("_ROWS_AT_ONCE = 500\n", "_ROWS_AT_ONCE = 2\n"))
    migrate(url, migrations=now)
    with database.read() as session:
        rows = session.execute(text("SELECT id, tier, error_kind, key_name FROM runs")).all()
    database.close()
    found = {row.id: row for row in rows}
    tiers = {id: row.tier for id, row in found.items() if row.tier}
    assert tiers == {"0": "small int4", "1": "m bf16", "2": "small int4", "3": "m bf16", "4": "small int4"}
    assert {id: row.error_kind for id, row in found.items() if row.error_kind} == {"failed": "InsufficientMemoryError"}
    assert {id: row.key_name for id, row in found.items() if row.key_name} == {"key": "ci"}
