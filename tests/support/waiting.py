"""Results that a database cannot take, and what makes it take none."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, event

from app.store import RunOutcome, RunStatus, RunStore, StoreError, Timeline
from tests.support.fakes import make_metrics, make_request

FINISHED = RunOutcome(RunStatus.FINISHED, "all of it", finish_reason="stop", metrics=make_metrics())
PATIENCE_S = 60.0
TOKENS = Timeline(
    token_ids=(7, 8), texts=("all", " of it"), t_s=(0.5, 0.75), logprob=(-0.5, -1.0), entropy=(1.0, 0.5),
    source=("target", "draft"), margin=(None, 0.25), tier=(None, None),
)  # fmt: skip


def open_store(file: Path) -> RunStore:
    """A server's store."""
    return RunStore.open(f"sqlite:///{file}")


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process writes, and does not end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(store: RunStore) -> Iterator[None]:
    """No page more than there is."""

    engine = store._database.engine
    with engine.connect() as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    event.listen(engine, "begin", limit)  # whichever connection it is
    yield
    event.remove(engine, "begin", limit)
    engine.dispose()


def until(what: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def create(store: RunStore) -> str:
    """The id of a new run of a group."""
    return store.create_run(make_request(), person_id="s", group_id="g", environment={"host": "h"})


def finish(store: RunStore, run_id: str, text: str = "all of it") -> None:
    """As the run service does it."""
    outcome, timeline = replace(FINISHED, text=text), TOKENS
    try:
        store.finish_run(run_id, outcome, timeline)
    except StoreError as error:
        store.finish_later(run_id, outcome, timeline, str(error))


def spooled(folder: Path) -> list[Path]:
    """The files of results that wait there."""
    return sorted(folder.glob("*.waiting-*.jsonl"))
