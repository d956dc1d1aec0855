"""Runs with texts, and what a search finds among them."""

from __future__ import annotations

from app.store import RunFilter, RunOutcome, RunStatus, RunStore
from tests.support.fakes import make_request


def keep(store: RunStore, answer: str, prompt: str = "Why?") -> str:
    """The id of a new run with this answer."""
    run_id = store.create_run(make_request(prompt), person_id="s", environment={})
    store.finish_run(run_id, RunOutcome(RunStatus.FINISHED, answer))
    return run_id


def index_all(store: RunStore) -> None:
    """Do what the background does."""
    while store.texts.add_some():
        pass


def found(store: RunStore, text: str) -> set[str]:
    """The ids of the runs with a text in them."""
    return {run.id for run in store.page(RunFilter(text=text), limit=1_000).rows}
