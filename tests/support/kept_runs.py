"""Runs with all that can be kept of them."""

from __future__ import annotations

from app.store import ALL_RUNS, RunFilter, RunOutcome, RunSort, RunStatus, RunStore, Timeline
from engine.types import GenerationRequest
from tests.support.fakes import make_metrics, make_request

TIMELINE = Timeline(
    token_ids=(5, 6),
    texts=("Be", "cause"),
    t_s=(0.25, 0.5),
    logprob=(-0.5, -1.5),
    entropy=(1.0, 2.0),
    source=("target", "target"),
    tier=(None, None),
)
FINISHED = RunOutcome(
    status=RunStatus.FINISHED,
    text="Because",
    finish_reason="stop",
    metrics=make_metrics(e2e_s=0.5),
    environment={"device": "cpu", "threads": 2},
)


def create(
    store: RunStore,
    request: GenerationRequest | None = None,
    *,
    group_id: str | None = None,
    person_id: str | None = "s",
) -> str:
    """The id of a run that has begun."""
    return store.create_run(
        request or make_request(), person_id=person_id, group_id=group_id, environment={"git_commit": "abc"}
    )


def finish(store: RunStore, request: GenerationRequest | None = None, outcome: RunOutcome = FINISHED) -> str:
    """The id of a run that is over."""
    run_id = create(store, request)
    store.finish_run(run_id, outcome, TIMELINE)
    return run_id


def ids(store: RunStore, filter: RunFilter = ALL_RUNS, sort: RunSort | None = None) -> list[str]:
    """Of the runs that a filter lets through, in their order."""
    page = store.page(filter, sort or RunSort(), limit=1_000)
    assert page.total == len(page.rows)
    return [row.id for row in page.rows]
