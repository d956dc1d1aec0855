"""What an autopilot measures, as experiments: each measurement is one, and is found again by its design."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.experiments.autopilot.goal import Figure, Goal, Observed
from app.experiments.autopilot.plan import Plan
from app.experiments.autopilot.search import Heat
from app.experiments.results.arrays import Floats, Measure, Results, read_results
from app.experiments.running.starting import keep_design
from app.experiments.running.weights import CannotAnswerError
from app.store import ExperimentState, RunStore

Runner = Callable[[str, float, float], float]
"""Goes on with an experiment (its id, the seconds it took before, and the most that it may take), and says what it took
in all."""


@dataclass(slots=True)
class Heats:
    """The measurements of one autopilot. With a runner what is missing is made; without one nothing is."""

    store: RunStore
    autopilot_id: str
    plan: Plan
    runner: Runner | None = None
    last: Results | None = None
    """Of what was measured last."""
    _known: dict[str, tuple[str, float]] = field(init=False)
    """The experiment and the seconds it took, by its design's hash."""

    def __post_init__(self) -> None:
        self._known = {
            heat.design_sha256: (heat.experiment_id, heat.seconds)
            for heat in self.store.autopilots.heats(self.autopilot_id)
        }

    def measure(self, names: Sequence[str], prompt_ids: Sequence[str], at_most_s: float) -> Heat | None:
        """See :data:`app.experiments.autopilot.search.Measure`.

        Raises:
            GearboxError: whatever keeps the engine or the store from it.
            JobCancelled: from the runner.
        """
        if unable := self._unable(names, prompt_ids):
            return self._without(unable, names, prompt_ids, at_most_s)
        design = self.plan.design(names, prompt_ids)
        known = self._known.get(design.sha256)
        if known is None and self.runner is None:
            return None
        if known is None:
            known = self._known[design.sha256] = keep_design(self.store, design), 0.0
            self.store.autopilots.add_heat(self.autopilot_id, known[0])
        id, seconds = known
        state = self.store.experiments.get(id).state
        if state is ExperimentState.FAILED and self.runner is None and len(names) == 1:
            return self._without(names[0], names, prompt_ids, at_most_s)
        if state is not ExperimentState.DONE and self.runner is not None and seconds < at_most_s:
            try:
                seconds = self.runner(id, seconds, at_most_s)
            except CannotAnswerError as error:
                if error.configuration == self.plan.baseline.name:
                    raise
                took = {heat.experiment_id: heat.seconds for heat in self.store.autopilots.heats(self.autopilot_id)}
                self._known[design.sha256] = id, took[id]
                return self._without(error.configuration, names, prompt_ids, at_most_s)
        self._known[design.sha256] = id, seconds
        self.last = read_results(self.store, id)
        complete = self.last.kept.state is ExperimentState.DONE
        if not complete and self.runner is None and seconds < at_most_s:
            return None  # under way
        return heat_of(self.last, self.plan.goal, seconds, complete=complete)

    def _unable(self, names: Sequence[str], prompt_ids: Sequence[str]) -> str | None:
        """The configuration without which a measurement was made again, since it cannot answer here; ``None`` for
        none."""
        if self.plan.design(names, prompt_ids).sha256 not in self._known:
            return None
        for name in names:
            rest = [each for each in names if each != name]
            if rest and self.plan.design(rest, prompt_ids).sha256 in self._known:
                return name
        return None

    def _without(self, unable: str, names: Sequence[str], prompt_ids: Sequence[str], at_most_s: float) -> Heat | None:
        """The measurement without a configuration that cannot answer here, which is as if it failed on all prompts."""
        _, lost_s = self._known[self.plan.design(names, prompt_ids).sha256]
        rest = [each for each in names if each != unable]
        nothing = Heat({}, 0.0, {}, complete=True)
        heat = self.measure(rest, prompt_ids, at_most_s - lost_s) if rest else nothing
        if heat is None:
            return None
        failed = Observed(seconds=dict.fromkeys(prompt_ids, np.inf))
        return Heat(
            {**heat.observed, unable: failed}, heat.seconds + lost_s, {**heat.cost_s, unable: 0.0}, heat.complete
        )


def heat_of(results: Results, goal: Goal, seconds: float, *, complete: bool) -> Heat:
    """What an experiment says of each configuration. What it took is shared among them as their answers' times are."""
    scores, figures = results.scores(Measure.CHECKER), _figure(results, goal.figure)
    memory = results.weights_bytes + results.kv_bytes
    took = np.nansum(results.e2e_s, axis=1)
    shares = took / took.sum() if took.sum() > 0 else np.full(len(took), 1 / len(took))
    return Heat(
        observed={
            name: Observed(
                _by_prompt(results, scores[place]),
                _by_prompt(results, np.where(results.failed[place], np.inf, figures[place])),
                float(np.nanmax(memory[place])) if np.isfinite(memory[place]).any() else None,
            )
            for place, name in enumerate(results.names)
        },
        seconds=seconds,
        cost_s={
            name: max(float(share) * seconds / len(results.prompt_ids), 1e-6)
            for name, share in zip(results.names, shares, strict=True)
        },
        complete=complete,
    )


def _figure(results: Results, figure: Figure) -> Floats:
    return {Figure.TTFT: results.ttft_s, Figure.TPOT: results.tpot_s, Figure.E2E: results.e2e_s}[figure]


def _by_prompt(results: Results, values: Floats) -> dict[str, float]:
    return {id: float(value) for id, value in zip(results.prompt_ids, values, strict=True) if not np.isnan(value)}
