"""An autopilot as a background job, which keeps to its time budget and goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from app import units
from app.background.jobs import JobCancelled, Report
from app.experiments.autopilot.course import Course, follow
from app.experiments.autopilot.measuring import Heats
from app.experiments.autopilot.plan import Plan
from app.experiments.running.job import ExperimentEngine, run_experiment
from app.experiments.running.starting import InBackground
from app.experiments.running.state import going_on
from app.store import KeptAutopilot, RunStore, StartedFrom, StoreError

_KEPT_EVERY_S = 5.0
"""How often it is written down what a measurement took: what a killed server took since is not counted."""


class _TimeIsUp(JobCancelled):
    """Ends an experiment that has taken all its time."""


def keep_plan(store: RunStore, plan: Plan) -> str:
    """Keep a new autopilot as the viewer's, not begun yet, and return its id."""
    return store.autopilots.keep(name=plan.name, plan=plan.to_dict(), prompts=plan.prompts)


def kept_of(store: RunStore, plan: Plan) -> KeptAutopilot | None:
    """The newest autopilot of this very plan that the viewer may see; ``None`` if there is none."""
    wanted = json.loads(json.dumps(plan.to_dict()))
    alike = (each for each in store.autopilots.all() if each.plan == wanted)
    return next((each for each in alike if store.autopilots.prompts(each.id) == plan.prompts), None)


def run_autopilot(
    engine: ExperimentEngine,
    store: RunStore,
    autopilot_id: str,
    report: Report,
    *,
    clock: Callable[[], float] = monotonic,
    started_from: StartedFrom = StartedFrom.PAGE,
) -> Course:
    """Measure what is missing, and say what it came to.

    Args:
        engine: who answers.
        store: what keeps the autopilot and its experiments, as whoever runs it sees them.
        autopilot_id: which one.
        report: told of the progress.
        clock: seconds.
        started_from: where this job was started.

    Raises:
        UnderWayError: another job goes on with it, or with one of its experiments.
        ExperimentError: an experiment cannot go on as things are.
        GearboxError: whatever else keeps the engine or the store from it.
        JobCancelled: from ``report``; the autopilot is paused.
    """
    kept = store.autopilots.get(autopilot_id)
    plan = Plan.from_dict(kept.plan, store.autopilots.prompts(autopilot_id))
    with going_on(store.autopilots, autopilot_id, started_from):
        spent = sum(heat.seconds for heat in store.autopilots.heats(autopilot_id))
        running = _Running(engine, store, report, clock, plan.goal.budget_s, spent)
        course = follow(plan, Heats(store, autopilot_id, plan, running.run), stage=running.tell)
    report("Done", 1.0)
    return course


AUTOPILOT = InBackground("autopilot", run_autopilot)


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
            loaded = "" if loading is None else f", {units.percent(loading)} loaded"
            self.report(f"{self.stage} · {stage}{loaded}", self._fraction)  # loading counts: its share is one of time

        try:
            run_experiment(
                self.engine,
                self.store,
                experiment_id,
                watch,
                kld=False,  # no limit is on it
                started_from=StartedFrom.AUTOPILOT,
            )
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
