"""New run databases, a run in one, and another server that has one under way."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from app.store import RunStore
from app.store.database.migrate import migrate
from tests.support.fakes import make_request

_RUN_AND_WAIT = """
import sys
from app.store import RunStore
from tests.support.fakes import make_request
store = RunStore.open(sys.argv[1])
run_id = store.create_run(make_request(), person_id="s", environment={})
store.save_progress(run_id, "half of the ans")
print(run_id, flush=True)
sys.stdin.read()
"""


def new_database(file: Path) -> str:
    """Write an empty run database, as opening a file that is not there makes it, only without migrating anew.

    Returns:
        its URL.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_migrated())
    return f"sqlite:///{file}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/gearbox.db")
        return Path(folder, "gearbox.db").read_bytes()


def create(store: RunStore) -> str:
    """The id of a new run."""
    return store.create_run(make_request(), person_id="s", environment={})


@contextmanager
def server_with_a_run(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a run going on in the same database; it ends when its standard input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN_AND_WAIT, f"sqlite:///{file}"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def id_from(server: subprocess.Popen[str]) -> str:
    """The id of its run, once it is under way."""
    assert server.stdout is not None
    return server.stdout.readline().strip()
