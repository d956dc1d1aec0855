import os
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store import RunOutcome, RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from app.store.database.owner import Owner
from app.store.runs import writing
from tests.support.fakes import make_metrics
from tests.support.stores import create, id_from, server_with_a_run

FINISHED = RunOutcome(RunStatus.FINISHED, "all", finish_reason="stop", metrics=make_metrics())


# --- runs whose process is gone -------------------------------------------------------------------


@pytest.fixture
def other_app(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a run going on in the same database."""
    with server_with_a_run(file) as process:
        yield process


def test_a_run_of_a_killed_app_is_interrupted_and_keeps_its_text(file: Path, other_app: subprocess.Popen[str]) -> None:
    run_id = id_from(other_app)
    os.kill(other_app.pid, signal.SIGKILL)
    other_app.wait()
    store = RunStore.open(f"sqlite:///{file}")
    run = store.get(run_id)
    assert (run.status, run.text) == (RunStatus.INTERRUPTED, "half of the ans")
    store.close()


def test_a_killed_app_that_nobody_has_waited_for_counts_as_dead(file: Path, other_app: subprocess.Popen[str]) -> None:
    run_id = id_from(other_app)
    os.kill(other_app.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other_app.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
    store = RunStore.open(f"sqlite:///{file}")
    assert store.get(run_id).status is RunStatus.INTERRUPTED
    store.close()


def test_the_runs_of_a_living_app_go_on(file: Path, other_app: subprocess.Popen[str]) -> None:
    run_id = id_from(other_app)
    store = RunStore.open(f"sqlite:///{file}")
    own = create(store)
    RunStore.open(f"sqlite:///{file}").close()
    assert store.get(run_id).status is RunStatus.RUNNING
    assert store.get(own).status is RunStatus.RUNNING
    store.close()


def test_a_run_is_interrupted_though_its_process_number_lives_on(
    file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Owner.this_process()
    monkeypatch.setattr(store, "_owner", replace(me, started=me.started - 3_600))
    run_id = create(store)
    RunStore.open(f"sqlite:///{file}").close()
    assert store.get(run_id).status is RunStatus.INTERRUPTED


@pytest.mark.parametrize(
    ("silent_for", "status"),
    [(timedelta(minutes=1), RunStatus.RUNNING), (timedelta(minutes=6), RunStatus.INTERRUPTED)],
)
def test_a_run_on_another_host_is_interrupted_when_it_falls_silent(
    file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch, silent_for: timedelta, status: RunStatus
) -> None:
    monkeypatch.setattr(store, "_owner", Owner(host="another.host", pid=1, started=0.0))
    run_id = create(store)
    now = datetime.now(UTC)
    store.save_progress(run_id, "so far")
    monkeypatch.setattr(writing, "now", lambda: now + silent_for)
    RunStore.open(f"sqlite:///{file}").close()
    assert (store.get(run_id).status, store.get(run_id).text) == (status, "so far")


def test_a_run_that_is_over_is_never_interrupted(file: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_owner", replace(Owner.this_process(), started=0.0))
    run_id = create(store)
    store.finish_run(run_id, FINISHED)
    RunStore.open(f"sqlite:///{file}").close()
    assert store.get(run_id).status is RunStatus.FINISHED


# --- many at once -----------------------------------------------------------------------------------


def test_sessions_that_write_at_once_all_get_their_rows(store: RunStore) -> None:
    def run_one(number: int) -> str:
        run_id = create(store)
        store.finish_run(run_id, replace(FINISHED, text=f"answer {number}"))
        return run_id

    with ThreadPoolExecutor(max_workers=8) as pool:
        made = list(pool.map(run_one, range(40)))
    assert [run.text for run in store.get_many(made)] == [f"answer {number}" for number in range(40)]


# --- a database that cannot be used ---------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 50)


@pytest.mark.usefixtures("impatient")
def test_a_lock_held_too_long_is_told_and_nothing_is_lost(file: Path, store: RunStore) -> None:
    run_id = create(store)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for attempt in (
            lambda: create(store),
            lambda: store.save_progress(run_id, "x"),
            lambda: store.finish_run(run_id, FINISHED),
            lambda: store.delete([run_id]),
        ):
            with pytest.raises(StoreError, match=r"gearbox\.db is locked by another process"):
                attempt()
        assert store.get(run_id).status is RunStatus.RUNNING  # reading goes on
        other.execute("ROLLBACK")
    store.finish_run(run_id, FINISHED)
    assert store.get(run_id).text == "all"
    assert store.page().total == 1


@pytest.mark.usefixtures("impatient")
def test_a_start_on_a_locked_database_is_told(file: Path, store: RunStore) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked by another process"):
            RunStore.open(f"sqlite:///{file}")


def test_a_full_disk_is_told_and_what_was_stored_stays(store: RunStore) -> None:
    run_id = create(store)
    store.save_progress(run_id, "kept")
    with store._database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="is full"):
        store.finish_run(run_id, replace(FINISHED, text="x" * 100_000))
    assert (store.get(run_id).text, store.get(run_id).status) == ("kept", RunStatus.RUNNING)
    with store._database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    store.finish_run(run_id, FINISHED)
    assert store.get(run_id).text == "all"


def test_a_database_that_may_only_be_read_is_told(store: RunStore) -> None:
    run_id = create(store)
    with store._database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="cannot be opened for writing"):
        store.finish_run(run_id, FINISHED)
    assert store.get(run_id).status is RunStatus.RUNNING


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 40, b"%PDF-1.7\n"])
def test_a_file_that_is_no_database_is_told_and_left_alone(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(StoreError, match="not a run database"):
        RunStore.open(f"sqlite:///{file}")
    assert file.read_bytes() == content


def test_a_damaged_database_is_told(file: Path) -> None:
    store = RunStore.open(f"sqlite:///{file}")
    for _ in range(50):
        create(store)
    store.close()
    whole = file.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError, match="damaged"):
        RunStore.open(f"sqlite:///{file}")


def test_a_folder_in_the_databases_place_is_told(file: Path) -> None:
    file.mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        RunStore.open(f"sqlite:///{file}")


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match="folder of the run database cannot be made"):
        RunStore.open(f"sqlite:///{tmp_path / 'data' / 'gearbox.db'}")


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Not root, whom no permission stops."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("unprivileged")
def test_a_folder_without_write_permission_is_told() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o500)
        with pytest.raises(StoreError, match="cannot be opened for writing"):
            RunStore.open(f"sqlite:///{folder}/gearbox.db")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("not a url", "is no database URL"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("nosuchdatabase://localhost/x", "driver that is not installed"),
        ("postgresql+asyncpg://user:secret@localhost/x", "driver that is not installed"),
    ],
)
def test_a_url_that_cannot_be_used_is_told(url: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        RunStore.open(url)
    assert "secret" not in str(caught.value)
