"""Copies of a PostgreSQL run database by PostgreSQL's own programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store import RunStore, StoreError, back_up, restore
from app.store.database import backup, postgres_backup
from app.store.database.session import Database
from tests.support.postgres import PostgresServer
from tests.support.searching import found, index_all, keep

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
ELSEWHERE = "postgresql+psycopg://me:se%20cret@db.example:5433/runs?sslmode=require&application_name=x"


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Of a run database with one run."""
    name = postgres.copy()
    add(postgres.url(name), "a first quokka")
    yield postgres.url(name)
    postgres.drop(name)


def add(url: str, answer: str) -> None:
    store = RunStore.open(url)
    keep(store, answer)
    index_all(store)
    store.close()


def answers(url: str) -> list[str]:
    store = RunStore.open(url)
    try:
        index_all(store)
        assert len(found(store, "quokka")) == store.page().total
        return [store.get(run.id).text for run in store.page().rows]
    finally:
        store.close()


@pytest.mark.slow
def test_a_copy_takes_the_place_of_what_is_kept_beside_it(url: str, tmp_path: Path) -> None:
    copy = tmp_path / "monday.dump"
    store = RunStore.open(url)
    assert back_up(url, copy) == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    keep(store, "a second quokka")
    with pytest.raises(StoreError, match="Stop the servers"):
        restore(url, copy, NOW)
    store.close()
    restored = restore(url, copy, NOW)
    assert restored.aside_schema == "gearbox_replaced_20261129_080000"
    assert answers(url) == ["a first quokka"]
    database = Database(url)
    with database.read() as session:
        before = session.connection().exec_driver_sql(f"SELECT count(*) FROM {restored.aside_schema}.runs")
        assert before.scalar_one() == 2
    database.close()


@pytest.mark.slow
def test_what_cannot_be_put_back_changes_nothing(
    url: str, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, older = tmp_path / "monday.dump", tmp_path / "older.dump"
    back_up(url, copy)
    add(url, "a second quokka")
    (tmp_path / "x").write_text("no copy")
    with pytest.raises(StoreError, match="pg_restore failed"):
        restore(url, tmp_path / "x", NOW)
    with monkeypatch.context() as patch:
        patch.setattr(backup, "is_known", lambda _: False)
        with pytest.raises(StoreError, match="newer version"):
            restore(url, copy, NOW)
        with pytest.raises(StoreError, match="newer version"):
            back_up(url, older)
    whole = copy.read_bytes()
    older.write_bytes(whole[: len(whole) - 2_000])
    with pytest.raises(StoreError, match="pg_restore failed"):
        restore(url, older, NOW)
    with monkeypatch.context() as patch:

        def fail(_: str) -> None:
            raise StoreError("no room for it")

        patch.setattr(backup, "migrate", fail)
        with pytest.raises(StoreError, match="no room for it"):
            restore(url, copy, NOW)
    assert answers(url) == ["a second quokka", "a first quokka"]
    empty = postgres.copy()
    with pytest.raises(StoreError, match="is there already"):
        back_up(postgres.url(empty), copy)
    postgres.drop(empty)


@pytest.mark.slow
def test_what_else_is_in_the_schema_is_neither_copied_nor_put_back(url: str, tmp_path: Path) -> None:
    database = Database(url)
    with database.migration() as connection:
        for statement in (
            "CREATE TABLE strangers (id serial PRIMARY KEY, name text)",
            "CREATE INDEX ix_strangers_name ON strangers (name)",
            "INSERT INTO strangers (name) VALUES ('one')",
            "CREATE VIEW run_ids AS SELECT id FROM runs",
            "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER spies AFTER INSERT ON runs EXECUTE FUNCTION spy()",
        ):
            connection.exec_driver_sql(statement)
    database.close()
    ours, foreign = tmp_path / "ours.dump", tmp_path / "foreign.dump"
    back_up(url, ours)
    command = ["pg_dump", "--format=custom", f"--file={foreign}", url.replace("+psycopg", "")]
    subprocess.run(command, check=True, capture_output=True)
    for second, copy in enumerate((ours, foreign)):
        restore(url, copy, NOW + timedelta(seconds=second))
        assert answers(url) == ["a first quokka"]
        with database.read() as session:
            connection = session.connection()
            assert connection.exec_driver_sql("SELECT name FROM strangers").scalars().all() == ["one"]
            spies = connection.exec_driver_sql("SELECT 1 FROM pg_trigger WHERE tgrelid = 'runs'::regclass "
                                               "AND tgname = 'spies'").all()  # fmt: skip
            assert not spies
            assert connection.exec_driver_sql("SELECT 'public.ix_runs_created_at_id'::regclass").all()
        database.close()


@pytest.mark.slow
def test_it_is_said_where_the_data_lie_when_they_cannot_be_moved_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, lies = tmp_path / "monday.dump", "in the schema gearbox_replaced_20261129_080000"
    back_up(url, copy)
    database = Database(url)

    def fail(_: str) -> None:
        assert lies in capsys.readouterr().err
        with database.migration() as connection:
            connection.exec_driver_sql("DROP TABLE api_keys")
            connection.exec_driver_sql("CREATE VIEW api_keys AS SELECT 1")
        raise StoreError("no room for it")

    monkeypatch.setattr(backup, "migrate", fail)
    with pytest.raises(StoreError, match=f"no room for it.*{lies}"):
        restore(url, copy, NOW)
    with database.read() as session:
        before = session.connection().exec_driver_sql(f"SELECT count(*) FROM {lies.split()[-1]}.runs")
        assert before.scalar_one() == 1
    database.close()


def test_programs_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres_backup.shutil, "which", lambda program: None)
    with pytest.raises(StoreError, match="pg_dump is not installed") as told:
        back_up(ELSEWHERE, tmp_path / "x")
    assert "cret" not in str(told.value)
    (tmp_path / "x").touch()
    with pytest.raises(StoreError, match="pg_restore is not installed"):
        restore(ELSEWHERE, tmp_path / "x", NOW)


def test_a_password_goes_by_the_environment_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    program = tmp_path / "pg_restore"
    program.write_text(
        "#!/usr/bin/env python3\nimport json, os, sys\n"
        f"json.dump([sys.argv, dict(os.environ)], open({str(said)!r}, 'w'))\n"
        "sys.exit('no such host')\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr(postgres_backup.shutil, "which", lambda _: str(program))
    (tmp_path / "copy").touch()
    with pytest.raises(StoreError, match=r"pg_restore failed on .*: no such host") as told:
        restore(ELSEWHERE, tmp_path / "copy", NOW)
    command, environment = json.loads(said.read_text())
    assert not any("cret" in each for each in [*command, str(told.value)])
    expected = {"PGHOST": "db.example", "PGPORT": "5433", "PGUSER": "me", "PGPASSWORD": "se cret", "PGDATABASE": "runs"}
    assert environment.items() >= {**expected, "PGSSLMODE": "require"}.items()
