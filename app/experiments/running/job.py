"""An experiment as a background job: the answers to all its prompts first, several at a time, then how far candidates
are from 16 bits along them, then their times, each with the engine to itself.

Every cell is an ordinary stored run, and is kept as soon as it is there. So work that was paused, or whose server was
killed, goes on where it was, and what has an answer is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from app.background.jobs import Report, Steps
from app.experiments.planning.design import Design
from app.experiments.planning.divergence import compared_cells
from app.experiments.planning.scoring import has_checker
from app.experiments.running.cells import Answered, cell_of, likened
from app.experiments.running.divergence import Comparing, ComparingEngine, asked_again, is_settled
from app.experiments.running.metering import Metered
from app.experiments.running.state import going_on
from app.experiments.running.warming import WarmingEngine, WarmUp
from app.experiments.running.weights import CannotAnswerError, Weights, models_of
from app.runs.answers import RunNotFinishedError, answer_kept
from app.runs.live_run import LiveRun
from app.runs.race import LaneRun
from app.runs.together import AT_ONCE, Watch, answered_together, sooner_on
from app.store import (
    Cell,
    CellKey,
    KeptExperiment,
    Pass,
    RunSource,
    RunStatus,
    RunStore,
    StartedFrom,
    run_metadata,
)
from engine import Task
from engine.types import GenerationRequest

_OF_THE_MACHINE = (
    "DeviceUnavailableError", "EngineClosedError", "InsufficientMemoryError", "MemoryError", "ModelNotInstalledError",
    "UnknownModelError", "UnsupportedModelError", "WeightsIntegrityError",
)  # fmt: skip
"""Errors that say nothing about a prompt: with them the experiment stops, until somebody has seen to it."""


class ExperimentEngine(WarmingEngine, ComparingEngine, Protocol):
    """What an experiment needs of an engine; see `engine.Engine`."""

    def weights_sha256(self, model: str) -> str: ...


def run_experiment(
    engine: ExperimentEngine,
    store: RunStore,
    experiment_id: str,
    report: Report,
    *,
    at_once: int = AT_ONCE,
    kld: bool = True,
    started_from: StartedFrom = StartedFrom.PAGE,
    retry_failed: bool = False,
) -> None:
    """Answer, compare and time all cells of an experiment that are missing.

    A prompt that a configuration cannot answer is a cell with the reason, and counts.

    Args:
        engine: who answers.
        store: what keeps the runs and the experiment, as whoever runs it sees it.
        experiment_id: which one.
        report: told of the progress.
        at_once: answers for quality that are under way at most.
        kld: whether candidates are held against 16 bits where they can be, which takes time of its own.
        started_from: where this job was started.
        retry_failed: whether cells without an answer are missing too, and are asked again.

    Raises:
        UnderWayError: another job goes on with it.
        ExperimentError: a model's weights are others than those that the experiment began with, or something is in
            the way that no prompt has to do with.
        GearboxError: whatever else keeps the engine or the store from it.
        JobCancelled: from ``report``; the experiment is paused.
    """
    kept = store.experiments.get(experiment_id)
    design = Design.from_dict(kept.design, store.experiments.prompts(experiment_id))
    with going_on(store.experiments, experiment_id, started_from):
        _Work.begin(engine, store, kept, design, report, at_once, kld=kld, retry_failed=retry_failed).run()


@dataclass(slots=True, kw_only=True)
class _Work:
    """What is still to be done of an experiment."""

    engine: ExperimentEngine
    store: RunStore
    kept: KeptExperiment
    design: Design
    weights: Weights
    steps: Steps
    done: dict[CellKey, Cell]
    at_once: int
    """Answers for quality under way at most."""
    kld: bool
    """Whether candidates are held against 16 bits."""
    effort: int
    """What a timed cell counts for in the progress."""
    tasks: Mapping[str, Task] = field(init=False)
    _references: dict[tuple[str, int], str] = field(init=False)
    """The baseline's answers to prompts without a checker, by prompt and repeat."""
    _warm: WarmUp = field(init=False)

    @classmethod
    def begin(
        cls,
        engine: ExperimentEngine,
        store: RunStore,
        kept: KeptExperiment,
        design: Design,
        report: Report,
        at_once: int,
        *,
        kld: bool,
        retry_failed: bool,
    ) -> Self:
        """See what is there already, and that it was made with the weights that are installed.

        Raises:
            ExperimentError: it was not.
        """
        report(f"Looking up the weights of {', '.join(models_of(design))}", 0.0)
        weights = Weights.installed(design, engine)
        done = {cell.key: cell for cell in store.experiments.cells(kept.id)}
        if retry_failed:
            done = asked_again(design, {key: cell for key, cell in done.items() if not cell.failed})
        effort = round(sooner_on(engine.status().device)) if len(design.passes) > 1 else 1
        timed, total = sum(key.kind is Pass.SPEED for key in done), len(design.cell_keys(Pass.SPEED))
        compared = [key for cells in compared_cells(design).values() for key in cells] if kld else []
        settled = sum(is_settled(done.get(key)) for key in compared)
        steps = Steps(
            report,
            done=len(done) + settled + (effort - 1) * timed,
            total=design.cells + len(compared) + (effort - 1) * total,
        )
        return cls(
            engine=engine, store=store, kept=kept, design=design, weights=weights, steps=steps, done=done,
            at_once=at_once, kld=kld, effort=effort,
        )  # fmt: skip

    def __post_init__(self) -> None:
        self._warm = WarmUp(self.engine, self._watch)
        self.tasks = {task.id: task for task in self.design.prompts}
        self.weights.check(self.done.values())
        ids = {
            cell.run_id: key
            for key, cell in self.done.items()
            if cell.run_id and self._is_reference(key) and not cell.failed
        }
        texts = self.store.experiments.answers(ids)
        self._references = {(ids[id].prompt_id, ids[id].repeat): text for id, text in texts.items()}

    def run(self) -> None:
        """Do it.

        Raises:
            ExperimentError, GearboxError, JobCancelled: see :func:`run_experiment`.
        """
        self._adopt()
        if Pass.QUALITY in self.design.passes:
            places = range(len(self.design.configurations))
            for place in sorted(places, key=lambda place: place != self.design.baseline):  # others are held against it
                self._answer_together(self.design.quality_cells(place))
            self._hold_against_late_references()
            if self.kld:
                self._compare()
        for key in self.design.cell_keys(Pass.SPEED):
            if key not in self.done:
                self._time(key)
        self.steps.at("Done", finished=True)

    # --- the two passes, and what is between them ----------------------------------------------------------

    def _answer_together(self, keys: Sequence[CellKey]) -> None:
        """One configuration's answers, several under way at a time."""
        missing = [key for key in keys if key not in self.done]
        if not missing:
            return
        answered = len(keys) - len(missing)

        def tell() -> None:
            self.steps.at(f"Quality · {self._name(keys[0])} · answer {min(answered + 1, len(keys)):,} of {len(keys):,}")

        tell()
        with answered_together(missing, self._ask, self.steps.meanwhile, at_once=self.at_once) as answers:
            for key, run in answers:
                assert isinstance(run, LaneRun)  # refusals are answers here: see `_ask`
                self._keep(key, Answered.of_run(run))
                answered += 1
                tell()

    def _compare(self) -> None:
        """How far candidates are from 16 bits, with the weights that answered."""
        comparing = Comparing(
            engine=self.engine, store=self.store, experiment_id=self.kept.id, design=self.design, tasks=self.tasks,
            done=self.done, steps=self.steps,
        )  # fmt: skip
        if comparing.is_over:
            return
        baseline = self.design.quality_cells(self.design.baseline)[0]
        model = self.design.configurations[self.design.baseline].config.model
        self.weights.check_run(baseline, self.engine.weights_sha256(model))
        comparing.run()

    def _time(self, key: CellKey) -> None:
        """One cell with the engine to itself; once more if it was disturbed, and then the second one counts."""
        self.steps.at(f"Speed · {self._name(key)} · “{key.prompt_id}”")
        self._warm.before(key.configuration, self._request(key))
        metered = Metered(self._watch)
        run = self._ask(key, metered)
        if run.disturbed and run.error is None:
            metered = Metered(self._watch)
            run = self._ask(key, metered, again=True)
        self._keep(key, replace(Answered.of_run(run), energy=metered.energy))

    def _ask(self, key: CellKey, watch: Watch, *, again: bool = False) -> LaneRun:
        """A cell's run to its end, a failure included that has to do with the prompt.

        Raises:
            CannotAnswerError: it failed of something else.
            RunNotFinishedError: it was cut short.
        """
        request = self._request(key)
        if again:
            request = replace(request, cache_salt=f"{request.cache_salt} again")
        run = LaneRun(request)
        try:
            answer_kept(
                self.engine,
                self.store,
                run,
                person_id=self.kept.person_id,
                source=RunSource.EXPERIMENT,
                watch=watch,
                group_id=self.kept.id,
                metadata=run_metadata(key, again=again),
            )
        except RunNotFinishedError:
            if run.error is None:
                raise
        if run.error is not None and run.error_kind in _OF_THE_MACHINE:
            name = self._name(key)
            raise CannotAnswerError(name, f"{name} could not answer “{key.prompt_id}”: {run.error}")
        return run

    def _watch(self, run: LiveRun) -> None:
        self.steps.meanwhile(run.loading_now)

    # --- what comes of it -----------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Keep the cells of runs that came to their end just before the server did. A first run that was disturbed
        is made once more, as it would have been."""
        wanted = {*self.design.cell_keys(Pass.QUALITY), *self.design.cell_keys(Pass.SPEED)}
        lost = {each.run_id: each for each in self.store.experiments.lost_cells(self.kept.id)}
        lost = {id: each for id, each in lost.items() if each.key in wanted and each.key not in self.done}
        records = (record for record in self.store.get_many(list(lost)) if record.status is RunStatus.FINISHED)
        # the baseline's first: others are held against them
        for record in sorted(records, key=lambda record: not self._is_reference(lost[record.id].key)):
            key = lost[record.id].key
            disturbed = record.disturbance is not None and record.disturbance.is_disturbed
            if key in self.done or (key.kind is Pass.SPEED and disturbed and not lost[record.id].again):
                continue
            self._keep(key, Answered.of_record(record))

    def _hold_against_late_references(self) -> None:
        """Hold answers against the baseline's that were there before it: it had failed, and was asked again."""
        late = {
            cell.run_id: cell
            for cell in self.done.values()
            if cell.run_id and cell.same_text is None and not cell.failed and self._reference(cell.key) is not None
        }
        for run_id, text in self.store.experiments.answers(late).items():
            cell = likened(late[run_id], text, self._reference(late[run_id].key) or "")
            self.store.experiments.keep_cell(self.kept.id, cell)
            self.done[cell.key] = cell

    def _keep(self, key: CellKey, answered: Answered) -> None:
        self.weights.check_run(key, answered.weights_sha256)
        if self._is_reference(key) and answered.failure is None:
            self._references[key.prompt_id, key.repeat] = answered.text
        scored = key.kind is Pass.QUALITY or Pass.QUALITY not in self.design.passes
        reference, task = self._reference(key), self.tasks[key.prompt_id]
        cell = cell_of(key, answered, self.weights.of(key), task, scored=scored, reference=reference)
        self.store.experiments.keep_cell(self.kept.id, cell)
        self.done[key] = cell
        self.steps.advance(self.effort if key.kind is Pass.SPEED else 1)

    def _request(self, key: CellKey) -> GenerationRequest:
        return self.design.request(key, self.tasks[key.prompt_id], self.kept.id)

    def _reference(self, key: CellKey) -> str | None:
        """The baseline's answer that a cell is held against; ``None`` where there is none, or a checker."""
        if key.kind is not Pass.QUALITY:
            return None
        repeat = min(key.repeat, self.design.answered(self.design.baseline) - 1)
        return self._references.get((key.prompt_id, repeat))

    def _is_reference(self, key: CellKey) -> bool:
        is_baseline = key.kind is Pass.QUALITY and key.configuration == self.design.baseline
        return is_baseline and not has_checker(self.tasks[key.prompt_id])

    def _name(self, key: CellKey) -> str:
        return self.design.configurations[key.configuration].name
