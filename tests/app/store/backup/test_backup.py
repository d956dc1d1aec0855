"""Copies of a database in use, and putting one back."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from app.store import RunFilter, RunStore, StoreError, back_up, restore
from app.store.database import backup
from app.store.database.session import Database
from tests.support.searching import keep
from tests.support.stores import id_from, new_database, server_with_a_run

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def prompts(file: Path) -> list[str]:
    store = RunStore.open(url_of(file))
    try:
        return [store.get(run.id).text for run in store.page().rows]
    finally:
        store.close()


@pytest.fixture
def copy(file: Path, tmp_path: Path) -> Path:
    """Of a database with one run."""
    store = RunStore.open(new_database(file))
    keep(store, "first")
    target = tmp_path / "copies" / "monday.db"
    target.parent.mkdir()
    assert back_up(url_of(file), target) == target.stat().st_size
    store.close()
    return target


def test_a_copy_is_one_file_that_only_its_owner_reads(copy: Path) -> None:
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_not_written_over(file: Path, copy: Path) -> None:
    before = copy.read_bytes()
    with pytest.raises(StoreError, match="is there already"):
        back_up(url_of(file), copy)
    assert copy.read_bytes() == before


def test_a_damaged_copy_is_not_kept(file: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = copy.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] + b"\xff" * 4096 + whole[len(whole) // 2 + 4096 :])
    with pytest.raises(StoreError, match="damaged"):
        back_up(url_of(file), tmp_path / "again.db")
    assert not list(tmp_path.glob("again*"))


def test_a_folder_that_is_not_there_is_told(file: Path, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        back_up(url_of(file), tmp_path / "nowhere" / "x.db")


def test_a_copy_takes_the_place_of_what_is_kept_beside_it(file: Path, copy: Path) -> None:
    store = RunStore.open(url_of(file))
    keep(store, "second")
    store.close()
    restored = restore(url_of(file), copy, NOW)
    assert prompts(file) == ["first"]
    assert restored.aside == file.with_name("gearbox.db.replaced-20261129-080000")
    assert prompts(restored.aside) == ["second", "first"]
    assert copy.exists()


def test_where_there_is_no_database_a_copy_makes_one(copy: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "gearbox.db"
    assert restore(url_of(new), copy, NOW).aside is None
    assert prompts(new) == ["first"]


def test_beside_a_server_a_copy_is_made_and_none_put_back_until_it_is_dead(file: Path, copy: Path) -> None:
    beside = copy.with_name("beside.db")
    with server_with_a_run(file) as server:
        id_from(server)
        back_up(url_of(file), beside)
        with pytest.raises(StoreError, match="A server is using"):
            restore(url_of(file), copy, NOW)
        server.kill()  # what it wrote last is in its log alone
        server.wait()
        assert Path(f"{file}-wal").stat().st_size
        aside = restore(url_of(file), copy, NOW).aside
    assert prompts(file) == ["first"]
    assert aside is not None
    for kept in (beside, aside):
        assert "half of the ans" in prompts(kept)


def no_database(file: Path) -> None:
    file.write_bytes(b"%PDF-1.7 not a database at all" * 100)


def another_programs(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE runs (mine INTEGER)")


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (no_database, "not a run database"),
        (another_programs, "no run database of"),
        (newer, "newer version of Gearbox"),
    ],
)
def test_what_is_no_copy_is_refused_and_nothing_changes(
    file: Path, copy: Path, spoil: Callable[[Path], None], told: str
) -> None:
    spoil(copy)
    with pytest.raises(StoreError, match=told):
        restore(url_of(file), copy, NOW)
    assert prompts(file) == ["first"]
    assert not list(file.parent.glob("*.restoring*"))


def test_a_copy_that_cannot_be_made_changes_nothing(file: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup.os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        restore(url_of(file), copy, NOW)
    monkeypatch.undo()
    assert prompts(file) == ["first"]
    assert not list(file.parent.glob("*.part"))


def test_a_copy_that_cannot_be_brought_up_to_date_changes_nothing(
    file: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_second(file)

    def fail(url: str) -> None:
        assert "restoring" in url
        with pytest.raises(Timeout), FileLock(f"{file}.lock", timeout=0):
            pass  # no server starts meanwhile
        raise StoreError("no room for it")

    with monkeypatch.context() as patch:
        patch.setattr(backup, "migrate", fail)
        with pytest.raises(StoreError, match="no room for it"):
            restore(url_of(file), copy, NOW)
    assert prompts(file) == ["second", "first"]
    assert not list(file.parent.glob("*.re[sp]*"))


@pytest.mark.parametrize("again", [True, False])
def test_where_the_swap_fails_what_was_there_is_put_back_or_named(
    file: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    keep_second(file)
    move = backup.shutil.move

    def replace(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    def only_away(old: Path, new: Path) -> None:
        if "replaced" in old.name and not again:
            raise PermissionError(13, "Permission denied")
        move(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(backup.shutil, "move", only_away)
        with pytest.raises(StoreError, match="Nothing has changed" if again else "replaced-20261129-080000"):
            restore(url_of(file), copy, NOW)
    kept = file if again else file.with_name("gearbox.db.replaced-20261129-080000")
    assert prompts(kept) == ["second", "first"]


def keep_second(file: Path) -> None:
    store = RunStore.open(url_of(file))
    keep(store, "second")
    store.close()


def test_the_room_of_what_was_deleted_can_be_given_back(store: RunStore, file: Path) -> None:
    ids = [keep(store, f"quokka {'x' * 20_000} {number}") for number in range(20)]
    while store.texts.add_some():
        pass
    store.delete(ids[5:])
    store.shrink()
    database = Database(url_of(file))
    with database.read() as session:
        free = session.connection().exec_driver_sql("PRAGMA freelist_count").scalar_one()
    database.close()
    assert free == 0
    # the numbers by which the index knows the runs are the same as before
    assert {run.id for run in store.page(RunFilter(text="quokka")).rows} == set(ids[:5])
