"""An autopilot as a background job, which keeps to its time budget and goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from app.experiments.autopilot.course import Course, follow
from app.experiments.autopilot.measuring import Heats
from app.experiments.autopilot.plan import Plan
from app.experiments.running.job import ExperimentEngine, run_experiment
from app.experiments.running.state import state_written
from app.jobs import JobCancelled, Jobs, Report
from app.store import KeptAutopilot, RunStore, StoreError

_KEPT_EVERY_S = 5.0
"""How often it is written down what a measurement took: what a killed server took since is not counted."""


class _TimeIsUp(JobCancelled):
    """Ends an experiment that has taken all its time."""


def job_key(autopilot_id: str) -> str:
    """The background job of an autopilot."""
    return f"autopilot {autopilot_id}"


def keep_plan(store: RunStore, plan: Plan) -> str:
    """Keep a new autopilot as the viewer's, not begun yet, and return its id."""
    return store.autopilots.keep(name=plan.name, plan=plan.to_dict(), prompts=plan.prompts)


def start(jobs: Jobs, engine: ExperimentEngine, store: RunStore, kept: KeptAutopilot, *, page: str = "") -> bool:
    """Begin an autopilot in the background, or go on with it; says whether a job was started for it.

    Args:
        jobs: what runs it. To pause it is to cancel its job.
        engine: who answers.
        store: as whoever starts it sees it.
        kept: which one.
        page: the address at which it is followed.
    """
    return jobs.submit(
        job_key(kept.id),
        lambda report: run_autopilot(engine, store, kept.id, report),
        title=f"Autopilot “{kept.name}”",
        owner=kept.person_id,
        page=page,
    )


def run_autopilot(
    engine: ExperimentEngine,
    store: RunStore,
    autopilot_id: str,
    report: Report,
    *,
    clock: Callable[[], float] = monotonic,
) -> Course:
    """Measure what is missing, and say what it came to.

    Args:
        engine: who answers.
        store: what keeps the autopilot and its experiments, as whoever runs it sees them.
        autopilot_id: which one.
        report: told of the progress.
        clock: seconds.

    Raises:
        ExperimentError: an experiment cannot go on as things are.
        GearboxError: whatever else keeps the engine or the store from it.
        JobCancelled: from ``report``; the autopilot is paused.
    """
    kept = store.autopilots.get(autopilot_id)
    plan = Plan.from_dict(kept.plan, store.autopilots.prompts(autopilot_id))
    spent = sum(heat.seconds for heat in store.autopilots.heats(autopilot_id))
    running = _Running(engine, store, report, clock, plan.goal.budget_s, spent)
    with state_written(store.autopilots.set_state, autopilot_id):
        course = follow(plan, Heats(store, autopilot_id, plan, running.run), stage=running.tell)
    report("Done", 1.0)
    return course


@dataclass(slots=True)
class _Running:
    """Runs experiments within their time."""

    engine: ExperimentEngine
    store: RunStore
    report: Report
    clock: Callable[[], float]
    budget_s: float
    spent_s: float
    """By all measurements so far."""
    stage: str = ""

    def tell(self, stage: str) -> None:
        """What is done from now on."""
        self.stage = stage
        self.report(stage, self._fraction)

    def run(self, experiment_id: str, before_s: float, at_most_s: float) -> float:
        """See :data:`app.experiments.autopilot.measuring.Runner`."""
        began, kept_at, spent_before = self.clock(), before_s, self.spent_s

        def watch(stage: str, _fraction: float, /, *, loading: float | None = None) -> None:
            nonlocal kept_at
            took = self.clock() - began
            self.spent_s = spent_before + took
            if before_s + took - kept_at >= _KEPT_EVERY_S:
                kept_at = before_s + took
                self.store.autopilots.set_seconds(experiment_id, kept_at)
            if before_s + took > at_most_s:
                raise _TimeIsUp
            self.report(f"{self.stage} · {stage}", self._fraction, loading=loading)

        try:
            run_experiment(self.engine, self.store, experiment_id, watch, kld=False)  # no limit is on it
        except _TimeIsUp:
            pass
        finally:
            seconds = before_s + self.clock() - began
            self.spent_s = spent_before + seconds - before_s
            with suppress(StoreError):  # it was deleted: what ended it says so
                self.store.autopilots.set_seconds(experiment_id, seconds)
        return seconds

    @property
    def _fraction(self) -> float:
        return min(self.spent_s / self.budget_s, 0.99)
