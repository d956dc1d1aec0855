"""How an experiment is kept, and how it, or an autopilot, is begun in the background and gone on with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from app.background.jobs import Jobs, Report
from app.experiments.planning.design import Design
from app.experiments.running.job import ExperimentEngine, run_experiment
from app.store import KeptAutopilot, KeptExperiment, RunStore


class Run(Protocol):
    """Goes on with what has an id, to its end."""

    def __call__(self, engine: ExperimentEngine, store: RunStore, id: str, report: Report, /) -> object: ...


@dataclass(frozen=True, slots=True)
class InBackground:
    """Work on something that is kept: it can be paused and gone on with."""

    noun: str
    """What that is."""
    run: Run

    def job_key(self, id: str) -> str:
        """The background job of one of them."""
        return f"{self.noun} {id}"

    def start(
        self,
        jobs: Jobs,
        engine: ExperimentEngine,
        store: RunStore,
        kept: KeptExperiment | KeptAutopilot,
        *,
        page: str = "",
    ) -> bool:
        """Begin it, or go on with it; says whether a job was started for it.

        Args:
            jobs: what runs it. To pause it is to cancel its job.
            engine: who answers.
            store: as whoever starts it sees it.
            kept: which one.
            page: the address at which it is followed.
        """
        return jobs.submit(
            self.job_key(kept.id),
            lambda report: self.run(engine, store, kept.id, report),
            title=f"{self.noun.capitalize()} “{kept.name}”",
            owner=kept.person_id,
            page=page,
            pauses=True,
        )


EXPERIMENT = InBackground("experiment", run_experiment)
FAILED_ANSWERS = InBackground("experiment", partial(run_experiment, retry_failed=True))
"""An experiment, whose failed answers are asked again."""


def keep_design(store: RunStore, design: Design) -> str:
    """Keep a new experiment as the viewer's, not begun yet, and return its id."""
    return store.experiments.keep(
        name=design.name,
        question=design.question,
        design=design.to_dict(),
        design_sha256=design.sha256,
        prompts=design.prompts,
    )
