"""One job at a time goes on with an experiment or an autopilot, whichever process it is of; a dead one is in nobody's
way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from app.settings import REPOSITORY
from app.store import ExperimentState, GoneError, RunStore, StartedFrom, StoreError, UnderWayError
from app.store.database.session import Database
from app.store.leases.schema import Lease
from tests.support.experiments import TASKS

_BEGINS = """
import sys, time
from app.store import RunStore, StartedFrom

store = RunStore.open(sys.argv[1])
getattr(store, sys.argv[2]).begin(sys.argv[3], StartedFrom(sys.argv[4]))
print("begun", flush=True)
time.sleep(600)
"""


def keep(store: RunStore) -> str:
    return store.experiments.keep(name="Ship it", question="", design={}, design_sha256="d" * 64, prompts=TASKS)


@contextmanager
def begun(file: Path, id: str, started_from: StartedFrom, kind: str = "experiments") -> Iterator[subprocess.Popen[str]]:
    """Another process that goes on with something until the end of the block, where it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BEGINS, f"sqlite:///{file}", kind, id, started_from],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("started_from", "where", "how"),
    [
        (StartedFrom.COMMAND_LINE, "started from the command line", "Ctrl+C"),
        (StartedFrom.PAGE, "on its page of another server", "Pause it there"),
    ],
)
def test_what_another_process_goes_on_with_is_refused_until_that_is_killed(
    started_from: StartedFrom, where: str, how: str, store: RunStore, file: Path
) -> None:
    id = keep(store)
    with begun(file, id, started_from) as process:
        kept = store.experiments.get(id)
        assert kept.state is ExperimentState.RUNNING
        assert kept.under_way is not None
        assert (kept.under_way.started_from, kept.under_way.pid, kept.under_way.here) == (
            started_from, process.pid, False,
        )  # fmt: skip
        with pytest.raises(UnderWayError, match=r"“Ship it” is running already") as refused:
            store.experiments.begin(id, StartedFrom.PAGE)
        assert where in str(refused.value)
        assert how in str(refused.value)
        store.look_around()
        assert store.experiments.get(id).under_way is not None, "it lives"
    assert store.experiments.get(id).under_way is None
    store.experiments.begin(id, StartedFrom.PAGE)
    again = store.experiments.get(id).under_way
    assert again is not None
    assert again.here


def test_so_it_is_with_autopilots(store: RunStore, file: Path) -> None:
    id = store.autopilots.keep(name="Fast enough", plan={}, prompts=TASKS)
    with begun(file, id, StartedFrom.PAGE, "autopilots"), pytest.raises(UnderWayError):
        store.autopilots.begin(id, StartedFrom.PAGE)
    store.autopilots.begin(id, StartedFrom.PAGE)
    (kept,) = store.autopilots.all()
    assert kept.under_way is not None


def test_two_jobs_of_one_process_are_told_apart(store: RunStore) -> None:
    """As an autopilot and the page of one of its experiments."""
    id, other = keep(store), keep(store)
    store.experiments.begin(id, StartedFrom.AUTOPILOT)
    with pytest.raises(UnderWayError, match="Pause the autopilot"):
        store.experiments.begin(id, StartedFrom.PAGE)
    store.experiments.begin(other, StartedFrom.PAGE)
    store.experiments.set_state(id, ExperimentState.PAUSED)
    assert store.experiments.get(id).under_way is None
    store.experiments.begin(id, StartedFrom.PAGE)


def test_an_end_that_could_not_be_written_blocks_nobody(
    store: RunStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = keep(store)
    store.experiments.begin(id, StartedFrom.PAGE)

    def full(*_: object, **__: object) -> None:
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", full)
        with pytest.raises(StoreError):
            store.experiments.set_state(id, ExperimentState.PAUSED)
    assert store.experiments.get(id).under_way is None
    with closing(RunStore.open(f"sqlite:///{file}")) as other:
        assert other.experiments.get(id).under_way is not None, "as far as others can see"
        store.look_around()
        other.experiments.begin(id, StartedFrom.PAGE)


def test_one_that_is_deleted_while_it_runs_leaves_nothing(store: RunStore) -> None:
    id = keep(store)
    store.experiments.begin(id, StartedFrom.PAGE)
    store.experiments.delete(id)
    with pytest.raises(GoneError):
        store.experiments.set_state(id, ExperimentState.DONE)
    store.look_around()
    with store._database.read() as session:
        assert session.query(Lease).count() == 0


def test_on_another_host_it_is_over_once_it_has_been_silent_for_long(store: RunStore) -> None:
    id = keep(store)
    store.experiments.begin(id, StartedFrom.COMMAND_LINE)
    elsewhere = update(Lease).values(owner_host="far", owner_lock=None)
    with store._database.write() as session:
        session.execute(elsewhere)
    under_way = store.experiments.get(id).under_way
    assert under_way is not None
    assert "of far" in under_way.where
    with store._database.write() as session:
        for row in session.query(Lease):
            row.seen_at = row.seen_at.replace(year=2020)
    assert store.experiments.get(id).under_way is None
