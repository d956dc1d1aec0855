"""Runs of servers that died are seen by every other server; runs of living ones are never touched."""

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from app.store import RunOutcome, RunStatus, RunStore
from app.store.outbox import keeper as keeper_module
from tests.support.fakes import make_metrics
from tests.support.stores import create, id_from, server_with_a_run

FINISHED = RunOutcome(RunStatus.FINISHED, "all", finish_reason="stop", metrics=make_metrics())
SILENT = "UPDATE runs SET seen_at = 0, owner_host = 'another container', owner_pid = 1"


@pytest.fixture
def other_server(file: Path, store: RunStore) -> Iterator[subprocess.Popen[str]]:
    """A server with a run under way, begun after this one."""
    with server_with_a_run(file) as process:
        yield process


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as beside, beside:
        beside.execute(statement)


def locks(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}.server-*"))


def test_every_server_looks_around_several_times_a_minute() -> None:
    assert keeper_module.LOOK_AROUND_EVERY_S <= 30


def test_a_server_that_dies_is_noticed_by_one_that_runs_on(
    file: Path, other_server: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "LOOK_AROUND_EVERY_S", 0.1)
    watching = RunStore.open(f"sqlite:///{file}")
    run_id = id_from(other_server)
    time.sleep(0.5)
    assert watching.get(run_id).status is RunStatus.RUNNING
    os.kill(other_server.pid, signal.SIGKILL)
    until(lambda: watching.get(run_id).status is RunStatus.INTERRUPTED)
    assert watching.get(run_id).text == "half of the ans"
    until(lambda: len(locks(file)) == 2)  # the dead one's file is gone
    watching.close()


def test_a_stopped_server_that_nobody_can_look_up_keeps_its_runs(
    file: Path, store: RunStore, other_server: subprocess.Popen[str]
) -> None:
    run_id = id_from(other_server)
    other_server.send_signal(signal.SIGSTOP)
    change(file, SILENT)
    store.look_around()
    RunStore.open(f"sqlite:///{file}").close()
    assert store.get(run_id).status is RunStatus.RUNNING
    other_server.send_signal(signal.SIGCONT)
    os.kill(other_server.pid, signal.SIGKILL)
    other_server.wait()
    store.look_around()
    assert store.get(run_id).status is RunStatus.INTERRUPTED


def test_a_process_with_the_number_of_a_dead_one_does_not_stand_for_it(
    file: Path, store: RunStore, other_server: subprocess.Popen[str]
) -> None:
    run_id = id_from(other_server)
    me = psutil.Process()
    os.kill(other_server.pid, signal.SIGKILL)
    other_server.wait()
    change(file, f"UPDATE runs SET owner_pid = {me.pid}, owner_started = {me.create_time()}")
    store.look_around()
    assert store.get(run_id).status is RunStatus.INTERRUPTED


def test_a_lock_file_that_is_deleted_is_put_back(file: Path, store: RunStore) -> None:
    run_id = create(store)
    (mine,) = locks(file)
    mine.unlink()
    store.look_around()
    assert locks(file) == [mine]
    change(file, SILENT)
    RunStore.open(f"sqlite:///{file}").close()
    assert store.get(run_id).status is RunStatus.RUNNING


def test_a_server_that_ends_leaves_no_lock_behind(file: Path) -> None:
    store = RunStore.open(f"sqlite:///{file}")
    assert len(locks(file)) == 1
    store.close()
    assert locks(file) == []


def test_the_end_of_a_run_that_was_taken_for_dead_is_stored_all_the_same(file: Path, store: RunStore) -> None:
    run_id = create(store)
    change(file, "UPDATE runs SET status = 'interrupted'")
    store.finish_later(run_id, FINISHED, None, "locked")
    until(lambda: store.waiting is None)
    with closing(sqlite3.connect(file)) as beside:
        assert beside.execute("SELECT status FROM runs").fetchall() == [("finished",)]
    assert store.get(run_id).text == "all"
