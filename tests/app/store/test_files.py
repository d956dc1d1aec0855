"""A database whose files are deleted, replaced or closed to writing while it is open."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from app.store import FileLostError, RunOutcome, RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from app.store.database.migrate import MIGRATIONS, migrate
from app.store.database.session import Database
from app.store.outbox import keeper as keeper_module
from app.store.outbox import spool as spool_module
from tests.support.fakes import make_metrics, make_request
from tests.support.stores import create

FINISHED = RunOutcome(RunStatus.FINISHED, "all of it", finish_reason="stop", metrics=make_metrics())


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The background does nothing by itself, and nothing is written outside of the test's folder."""
    monkeypatch.setattr(keeper_module, "FIRST_RETRY_S", 3_600.0)
    monkeypatch.setattr(keeper_module, "LONGEST_RETRY_S", 3_600.0)
    monkeypatch.setattr(keeper_module, "LOOK_AROUND_EVERY_S", 3_600.0)
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 20)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(spool_module, "TEMPORARY", (tmp_path / "temporary",))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "gearbox.db"


def finish(store: RunStore, run_id: str) -> None:
    try:
        store.finish_run(run_id, FINISHED)
    except StoreError as error:
        store.finish_later(run_id, FINISHED, None, str(error))


def rows(file: Path) -> dict[str, str]:
    with closing(sqlite3.connect(file)) as other:
        return dict(other.execute("SELECT id, status FROM runs").fetchall())


# --- the file itself ------------------------------------------------------------------------------


def test_a_deleted_file_is_noticed_told_and_never_written_to(file: Path, store: RunStore) -> None:
    run_id = create(store)
    file.unlink()
    assert "deleted or moved away while Gearbox was using it" in str(store.file_lost)
    for attempt in (
        lambda: create(store),
        lambda: store.finish_run(run_id, FINISHED),
        lambda: store.rate(run_id, 1),
        lambda: store.save_progress(run_id, "x"),
        lambda: store.page(),
    ):
        with pytest.raises(FileLostError, match="Open what is there now"):
            attempt()
    assert not file.exists()
    finish(store, run_id)
    assert store.get(run_id).status is RunStatus.FINISHED, "shown from memory"
    assert store.waiting is not None


def test_a_deleted_file_is_begun_anew_when_asked_for_and_what_waits_goes_into_it(file: Path, store: RunStore) -> None:
    run_id = create(store)
    file.unlink()
    finish(store, run_id)
    shown = store.get(run_id)
    store.open_what_is_there()
    assert (store.file_lost, store.waiting) == (None, None)
    assert rows(file) == {run_id: "finished"}
    assert store.get(run_id) == shown
    assert store.get(create(store)).status is RunStatus.RUNNING


def test_a_restart_takes_in_what_waited_for_a_deleted_file(file: Path, store: RunStore) -> None:
    run_id = create(store)
    file.unlink()
    finish(store, run_id)
    store.close()
    again = RunStore.open(f"sqlite:///{file}")
    assert again.get(run_id).text == "all of it"
    again.close()


def test_a_file_that_is_put_back_is_used_again(file: Path, store: RunStore) -> None:
    run_id = create(store)
    away = file.with_name("away.db")
    file.rename(away)
    finish(store, run_id)
    assert store.waiting
    away.rename(file)
    assert store.file_lost is None
    store._outbox.deliver()
    assert rows(file) == {run_id: "finished"}


def test_a_file_that_was_moved_away_is_whole(file: Path, store: RunStore) -> None:
    run_id = create(store)
    finish(store, run_id)
    away = file.parent.parent / "away.db"
    file.rename(away)
    store.open_what_is_there()
    assert rows(away) == {run_id: "finished"}
    assert rows(file) == {}


def replacement(kind: str, at: Path) -> None:
    match kind:
        case "an older version":
            with closing(sqlite3.connect(at)) as other:
                other.execute("CREATE TABLE mine (x INTEGER)")
                other.commit()
            migrate(f"sqlite:///{at}")
            config, older = Config(), Database(f"sqlite:///{at}", foreign_keys=False)
            config.set_main_option("script_location", str(MIGRATIONS))
            with older.migration() as connection:
                config.attributes["connection"] = connection
                command.downgrade(config, "0008")
            older.close()
        case "a newer version":
            migrate(f"sqlite:///{at}")
            with closing(sqlite3.connect(at)) as other:
                other.execute("UPDATE alembic_version SET version_num = '9999'")
                other.commit()
        case "no database":
            at.write_bytes(b"this is a text, and long enough for a header\n" * 200)
        case "an empty file":
            at.touch()


@pytest.mark.parametrize("kind", ["an older version", "a newer version", "no database", "an empty file"])
def test_a_replaced_file_is_noticed_and_left_alone(file: Path, store: RunStore, kind: str) -> None:
    run_id = create(store)
    other = file.with_name("other.db")
    replacement(kind, other)
    before = other.read_bytes()
    other.replace(file)
    with pytest.raises(FileLostError, match="replaced by another file"):
        create(store)
    finish(store, run_id)
    assert store.waiting is not None
    assert file.read_bytes() == before


@pytest.mark.parametrize("kind", ["an older version", "an empty file"])
def test_a_replaced_file_is_taken_when_asked_for_and_brought_up_to_date(file: Path, store: RunStore, kind: str) -> None:
    run_id = create(store)
    other = file.with_name("other.db")
    replacement(kind, other)
    other.replace(file)
    finish(store, run_id)
    store.open_what_is_there()
    assert (store.waiting, store.file_lost) == (None, None)
    assert rows(file) == {run_id: "finished"}
    assert store.get(run_id).messages == make_request().messages
    with closing(sqlite3.connect(file)) as beside:
        assert beside.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(("kind", "why"), [("a newer version", "newer version"), ("no database", "not a run database")])
def test_a_file_that_cannot_be_used_is_refused_and_results_wait_on(
    file: Path, store: RunStore, kind: str, why: str
) -> None:
    run_id = create(store)
    other, mine = file.with_name("other.db"), file.with_name("mine.db")
    replacement(kind, other)
    before = other.read_bytes()
    file.rename(mine)
    other.replace(file)
    finish(store, run_id)
    with pytest.raises(StoreError, match=why):
        store.open_what_is_there()
    assert file.read_bytes() == before
    assert store.file_lost
    assert store.waiting
    mine.replace(file)  # the old one is back
    store._outbox.deliver()
    assert rows(file) == {run_id: "finished"}


def test_a_run_that_is_under_way_ends_in_the_new_file_whole(file: Path, store: RunStore) -> None:
    run_id = create(store)
    file.unlink()
    store.open_what_is_there()
    finish(store, run_id)
    run = store.get(run_id)
    assert (run.status, run.text, run.prompt, run.metrics) == (
        RunStatus.FINISHED,
        "all of it",
        make_request().prompt,
        make_metrics(),
    )


# --- the log --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_a_deleted_log_is_noticed_and_nothing_that_was_in_it_is_lost(
    file: Path, store: RunStore, gone: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    earlier = create(store)
    finish(store, earlier)
    for suffix in gone:
        Path(f"{file}{suffix}").unlink()
    later = create(store)
    finish(store, later)
    assert "was deleted or replaced while it was open" in caplog.text
    assert "nothing is lost" in str(store.log_lost)
    assert store.waiting is None
    assert rows(file) == {earlier: "finished", later: "finished"}
    store.close()
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert rows(file) == {earlier: "finished", later: "finished"}


def test_a_log_deleted_under_two_servers_loses_nothing_of_either(file: Path, store: RunStore) -> None:
    second = RunStore.open(f"sqlite:///{file}")
    first_run, second_run = create(store), create(second)
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink()
    finish(store, first_run)
    finish(second, second_run)
    both = {first_run: "finished", second_run: "finished"}
    assert rows(file) == both
    assert {run.id for run in second.page().rows} == set(both)
    second.close()


# --- rights ---------------------------------------------------------------------------------------


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Not root, whom no permission stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.usefixtures("unprivileged")
def test_a_file_or_folder_that_turns_read_only_keeps_results_waiting(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as temporary:
        monkeypatch.setattr(spool_module, "TEMPORARY", (Path(temporary),))
        file = Path(folder) / "gearbox.db"
        store = RunStore.open(f"sqlite:///{file}")
        run_id = create(store)
        target, rights = (file, 0o400) if what == "file" else (file.parent, 0o500)
        store._database.close()  # new connections are opened under the new rights
        target.chmod(rights)
        finish(store, run_id)
        assert store.waiting is not None
        assert "cannot be opened for writing" in store.waiting.why
        assert store.get(run_id).status is RunStatus.FINISHED
        assert [str(path.parent) for path in store.waiting.aside] == [folder if what == "file" else temporary]
        target.chmod(0o700)
        for beside in file.parent.glob("gearbox.db-*"):
            beside.chmod(0o600)  # SQLite gives its log the rights that the file had
        with suppress(StoreError):
            store._outbox.deliver()  # on the connection of the reader above, which is given up with this
        store._outbox.deliver()
        assert rows(file) == {run_id: "finished"}
        store.close()


def test_a_link_to_the_database_is_followed(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.db"
    migrate(f"sqlite:///{real}")
    file.symlink_to(real)
    store = RunStore.open(f"sqlite:///{file}")
    run_id = create(store)
    Path(f"{real}-wal").unlink()
    finish(store, run_id)
    assert rows(real) == {run_id: "finished"}
    shutil.copy(real, tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(real)
    assert store.file_lost
    store.close()
