"""A kept run's answer read again, as a background job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from app.background.jobs import Report
from app.cascade.cascades import alone_config
from app.store import RunStore
from engine.errors import GearboxError
from engine.types import DRAWS_AS_PLAIN, GenerationRequest, Losslessness, RunConfig


class CheckingEngine(Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def check_losslessness(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        progress: Callable[[str, float], None] = ...,
    ) -> Losslessness: ...


class NothingToCheckError(GearboxError):
    """A run has no answer that could be read."""


def check_run(engine: CheckingEngine, store: RunStore, run_id: str, report: Report) -> Losslessness:
    """Compare a run's answer with plain decoding, and keep with the run what came out.

    Raises:
        NothingToCheckError: its tokens were not kept.
        GearboxError: whatever keeps the engine or the store from it.
        JobCancelled: from ``report``.
    """
    report("Reading the answer again", 0.0)
    run, timeline = store.get(run_id), store.timeline(run_id)
    if not timeline:
        raise NothingToCheckError("The tokens of this run were not kept, so they cannot be checked.")
    config = RunConfig.from_dict(run.config)
    if config.sampling.temperature and DRAWS_AS_PLAIN not in run.environment:
        raise NothingToCheckError(
            "This answer was sampled when drafts still changed the random numbers: ask again, and the new one can be "
            "checked."
        )
    request = run.asked_again(alone_config(config, run.cascade.tier) if run.cascade else config)
    found = engine.check_losslessness(
        request, timeline.token_ids, lambda stage, fraction: report(stage, 0.9 * fraction)
    )
    store.keep_losslessness(run_id, found)
    report("Done", 1.0)
    return found
