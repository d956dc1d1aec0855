"""How an experiment is kept, begun in the background and gone on with."""

from __future__ import annotations

from app.experiments.planning.design import Design
from app.experiments.running.job import ExperimentEngine, run_experiment
from app.jobs import Jobs
from app.store import KeptExperiment, RunStore


def job_key(experiment_id: str) -> str:
    """The background job of an experiment."""
    return f"experiment {experiment_id}"


def keep_design(store: RunStore, design: Design) -> str:
    """Keep a new experiment as the viewer's, not begun yet, and return its id."""
    return store.experiments.keep(
        name=design.name,
        question=design.question,
        design=design.to_dict(),
        design_sha256=design.sha256,
        prompts=design.prompts,
    )


def start(jobs: Jobs, engine: ExperimentEngine, store: RunStore, kept: KeptExperiment, *, page: str = "") -> bool:
    """Begin an experiment in the background, or go on with it; says whether a job was started for it.

    Args:
        jobs: what runs it. To pause it is to cancel its job.
        engine: who answers.
        store: as whoever starts it sees it.
        kept: which one.
        page: the address at which it is followed.
    """
    return jobs.submit(
        job_key(kept.id),
        lambda report: run_experiment(engine, store, kept.id, report),
        title=f"Experiment “{kept.name}”",
        owner=kept.person_id,
        page=page,
    )
