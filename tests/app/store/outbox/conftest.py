"""Where results wait, and servers that ended with some."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from app.store.database import session as session_module
from app.store.outbox import keeper as keeper_module
from app.store.outbox import spool as spool_module


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(session_module, "RESULT_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(session_module, "HASTY_BUSY_TIMEOUT_MS", 20)
    monkeypatch.setattr(keeper_module, "LOOK_AROUND_EVERY_S", 3_600.0)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background does nothing by itself."""
    monkeypatch.setattr(keeper_module, "FIRST_RETRY_S", 3_600.0)
    monkeypatch.setattr(keeper_module, "LONGEST_RETRY_S", 3_600.0)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(spool_module, "TEMPORARY", (folder,))
    return folder


@pytest.fixture
def file(tmp_path: Path, temporary: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "gearbox.db"


DIE = """
import os, signal, sqlite3, sys
from app.store import RunStore
from app.store.database import session
from tests.support.fakes import make_request
from tests.support.waiting import finish
session.RESULT_BUSY_TIMEOUT_MS = 20
store = RunStore.open(sys.argv[1])
runs = [store.create_run(make_request(), person_id="s", environment={}) for _ in range(3)]
other = sqlite3.connect(sys.argv[2], isolation_level=None)
other.execute("BEGIN EXCLUSIVE")
for number, run_id in enumerate(runs):
    finish(store, run_id, f"answer {number}")
print(*runs, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a server that was killed with results waiting, and the ids of its runs."""
    file = tmp_path_factory.mktemp("killed") / "gearbox.db"
    died = subprocess.run(
        [sys.executable, "-c", DIE, f"sqlite:///{file}", str(file)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    return file.parent, died.stdout.split()


@pytest.fixture
def waiting_runs(file: Path, killed: tuple[Path, list[str]]) -> list[str]:
    """The runs of a killed server whose results wait beside this database."""
    folder, runs = killed
    shutil.copytree(folder, file.parent, dirs_exist_ok=True)
    return runs
