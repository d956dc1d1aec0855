"""A run in a run database, and another server that has one under way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.store import RunStore
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
