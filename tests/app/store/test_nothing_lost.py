"""Whatever befalls the database and its server, in whatever order: no finished result is lost, none is there twice."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from app.store import RunOutcome, RunStatus, RunStore, StoreError
from app.store.database import session as session_module
from app.store.outbox import keeper as keeper_module
from app.store.outbox import spool as spool_module
from tests.support.fakes import make_metrics, make_request

_LONG = 30_000
"""Characters of an answer: more than fits the pages that there are."""


class Trouble(RuleBasedStateMachine):
    """One server after the other on a database file that is locked, full, deleted and begun anew."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.folder = tempfile.TemporaryDirectory()
        self.data, temporary = Path(self.folder.name, "data"), Path(self.folder.name, "temporary")
        self.data.mkdir()
        temporary.mkdir()
        for name in ("BUSY_TIMEOUT_MS", "RESULT_BUSY_TIMEOUT_MS"):
            self.patch.setattr(session_module, name, 5)
        for name in ("FIRST_RETRY_S", "LONGEST_RETRY_S", "LOOK_AROUND_EVERY_S"):
            self.patch.setattr(keeper_module, name, 3_600.0)
        self.patch.setattr(spool_module, "TEMPORARY", (temporary,))
        self.write = os.write
        self.patch.setattr(os, "write", self._write_aside)
        self.file = self.data / "gearbox.db"
        self.store: RunStore | None = None
        self.locker: sqlite3.Connection | None = None
        self.full = self.lost = False
        self.begun: list[str] = []
        self.finished: dict[str, str] = {}
        self.start()

    # --- what befalls it --------------------------------------------------------------------------

    @precondition(lambda self: self.store is None)
    @rule()
    def start(self) -> None:
        with suppress(StoreError):
            self.store = RunStore.open(f"sqlite:///{self.file}")
            event.listen(self.store._database.engine, "connect", self._limit)
            self.store._database.close()
            self.lost = False

    @precondition(lambda self: self.store is not None)
    @rule()
    def kill(self) -> None:
        """What the system does with a dead process: its files are closed, its memory is gone."""
        assert self.store
        self.store._keeper._closed.set()
        self.store._outbox.came.set()
        self.store._keeper._thread.join()
        self.store._outbox.let_go()
        held = self.store._presence._held
        assert held
        held.let_go()
        self.store._database.close()
        self.store, self.begun = None, []

    @precondition(lambda self: self.store is not None)
    @rule()
    def end(self) -> None:
        assert self.store
        self.store.close()
        self.store, self.begun = None, []

    @precondition(lambda self: self.locker is None and self.file.exists())
    @rule()
    def lock(self) -> None:
        self.locker = sqlite3.connect(self.file, isolation_level=None)
        self.locker.execute("BEGIN EXCLUSIVE")

    @precondition(lambda self: self.locker is not None)
    @rule()
    def unlock(self) -> None:
        assert self.locker
        self.locker.close()
        self.locker = None

    @precondition(lambda self: not self.full and self.locker is None)
    @rule()
    def fill_disk(self) -> None:
        self.full = True
        if self.store:
            self.store._database.close()

    @precondition(lambda self: self.full)
    @rule()
    def free_disk(self) -> None:
        self.full = False
        if self.store:
            self.store._database.close()

    @precondition(lambda self: self.store is not None and self.locker is None and not self.lost)
    @rule()
    def delete_file(self) -> None:
        """Whoever deletes it wants to be rid of what is in it; what has not got there yet is another matter."""
        assert self.store
        waiting = {result.id for result in self.store._outbox.of_kind("run")}
        self.finished = {run_id: text for run_id, text in self.finished.items() if run_id in waiting}
        for path in self.data.glob("gearbox.db"):
            path.unlink()
        self.lost = True

    @precondition(lambda self: self.store is not None and self.lost and not self.full)
    @rule()
    def open_what_is_there(self) -> None:
        assert self.store
        self.store.open_what_is_there()
        self.lost = False

    # --- what is done with it ---------------------------------------------------------------------

    @precondition(lambda self: self.store is not None)
    @rule()
    def begin(self) -> None:
        assert self.store
        with suppress(StoreError):
            self.begun.append(self.store.create_run(make_request(), person_id="s", environment={}))

    @precondition(lambda self: self.begun)
    @rule()
    def finish(self) -> None:
        assert self.store
        run_id = self.begun.pop()
        self.finished[run_id] = f"{len(self.finished)} " * _LONG
        outcome = RunOutcome(RunStatus.FINISHED, self.finished[run_id], finish_reason="stop", metrics=make_metrics())
        try:
            self.store.finish_run(run_id, outcome)
        except StoreError as error:
            self.store.finish_later(run_id, outcome, None, str(error))

    @precondition(lambda self: self.store is not None)
    @rule()
    def retry(self) -> None:
        assert self.store
        with suppress(StoreError):
            self.store._outbox.deliver()

    # --- what holds -------------------------------------------------------------------------------

    @invariant()
    def finished_runs_are_shown_as_finished(self) -> None:
        if self.store is None:
            return
        for run_id, text in self.finished.items():
            if self.lost and self.store._outbox.find("run", run_id) is None:
                continue
            run = self.store.get(run_id)
            assert (run.status, run.text) == (RunStatus.FINISHED, text)

    def teardown(self) -> None:
        try:
            if self.locker:
                self.unlock()
            self.full = False
            if self.store:
                self.kill()
            self.start()
            assert self.store
            assert self.store.waiting is None
            self.store.close()
            with closing(sqlite3.connect(self.file)) as beside:
                query = "SELECT id, text FROM runs JOIN run_contents ON run_id = id WHERE status = 'finished'"
                kept = beside.execute(query).fetchall()
            assert sorted(kept) == sorted(self.finished.items())
            assert not list(Path(self.folder.name).rglob("*.waiting-*"))
        finally:
            self.patch.undo()
            self.folder.cleanup()

    # ----------------------------------------------------------------------------------------------

    def _limit(self, connection: DBAPIConnection, _entry: object) -> None:
        """A full disk: no page more than there is."""
        if self.full:
            cursor = connection.cursor()
            (pages,) = cursor.execute("PRAGMA page_count").fetchone()  # type: ignore[func-returns-value]
            cursor.execute(f"PRAGMA max_page_count = {pages}")
            cursor.close()

    def _write_aside(self, descriptor: int, data: bytes) -> int:
        if self.full and Path(f"/proc/self/fd/{descriptor}").readlink().parent == self.data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.write(descriptor, data)


Trouble.TestCase.settings = settings(deadline=None, max_examples=8, stateful_step_count=16)
TestTrouble = Trouble.TestCase


class MuchTrouble(Trouble):
    """The same for longer."""


MuchTrouble.TestCase.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)
TestMuchTrouble = pytest.mark.slow(pytest.mark.timeout(1_800)(MuchTrouble.TestCase))
