"""The job: each cell once, failures counted, resumed without asking again, refused where weights changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.experiments.design import Design
from app.experiments.running import job_key, keep_design, run_experiment, start
from app.experiments.weights import ExperimentError
from app.jobs import JobCancelled, Jobs
from app.store import ExperimentState, GoneError, Pass, RunFilter, RunSource, RunStatus, RunStore
from app.store.experiments.repository import ExperimentStore
from engine.errors import ContextLengthError, EngineClosedError, GearboxError, InsufficientMemoryError
from engine.types import GenerationRequest
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.experiments import TASKS, Told, configuration, design, untimed
from tests.support.fakes import FakeGeneration, FakeLabEngine


class Engine(FakeLabEngine):
    """Answers each prompt in words of its own; refuses or fails some requests."""

    def __init__(self, fails: dict[str, GearboxError] | None = None, **given: Any) -> None:
        super().__init__(**given)
        self.refusals = fails or {}

    def says(self, request: GenerationRequest) -> Sequence[str]:
        four_bits = request.config.optimization.quantization is not None
        return ("The", " sky", " of", " a" if four_bits else " the", " sea", ".")

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        return self.refusals.get(request.prompt) if request.config.optimization.quantization else None


def run(engine: Engine, store: RunStore, made: Design, told: Told | None = None) -> str:
    """Run a new experiment, or go on with it."""
    kept = store.experiments.of_design(made.sha256)
    id = kept.id if kept else keep_design(store, made)
    run_experiment(engine, store, id, told or Told())
    return id


def test_every_cell_is_a_stored_run_with_its_figures(store: RunStore) -> None:
    engine, told = Engine(), Told()
    id = run(engine, store, design(), told)
    kept, cells = store.experiments.get(id), store.experiments.cells(id)
    assert (kept.state, kept.cells, kept.failed) == (ExperimentState.DONE, 12, 0)
    runs = {record.id: record for record in store.get_many([cell.run_id or "" for cell in cells])}
    assert len(runs) == 12
    for cell in cells:
        record = runs[cell.run_id or ""]
        assert (record.source, record.group_id, record.status) == (RunSource.EXPERIMENT, id, RunStatus.FINISHED)
        assert record.metadata["prompt"] == cell.key.prompt_id
        assert record.metrics is not None
        assert (cell.e2e_s, cell.ttft_s, cell.tpot_s) == (
            record.metrics.e2e_s, record.metrics.ttft_s, record.metrics.tpot_s,
        )  # fmt: skip
        assert cell.completion_tokens == 6
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] == 1.0


def test_a_checker_scores_where_there_is_one_and_likeness_to_the_baseline_elsewhere(store: RunStore) -> None:
    id = run(Engine(), store, design(passes=[Pass.QUALITY]))
    found = {(cell.key.configuration, cell.key.prompt_id): cell for cell in store.experiments.cells(id)}
    assert [(found[1, name].score, found[1, name].word_f1) for name in ("sky", "moon")] == [(1.0, None), (0.0, None)]
    assert (found[0, "open"].same_text, found[0, "open"].word_f1) == (True, 1.0)
    assert (found[1, "open"].score, found[1, "open"].same_text) == (None, False)
    assert found[1, "open"].word_f1 == pytest.approx(8 / 10)


def test_the_two_passes_are_kept_apart(store: RunStore) -> None:
    engine = Engine()
    run(engine, store, design())
    together, alone = (
        [request for request in engine.requests if request.exclusive is exclusive] for exclusive in (False, True)
    )
    assert len(together) == 6
    assert len(alone) == 6 + 2, "each configuration is warmed up once"
    assert engine.requests[:6] == together
    assert not {request.cache_salt for request in together} & {request.cache_salt for request in alone}
    assert all(request.unguarded for request in engine.requests)


def test_a_disturbed_cell_is_timed_once_more_and_the_second_one_counts(store: RunStore) -> None:
    engine = Engine()
    engine.disturbances = [QUIET, DISTURBED, QUIET, DISTURBED, DISTURBED, QUIET]  # the first warms up
    id = run(engine, store, design(configurations=[configuration("int4")], passes=[Pass.SPEED]))
    cells = store.experiments.cells(id)
    assert sorted(bool(cell.disturbed) for cell in cells) == [False, False, True]
    records = store.get_many([cell.run_id or "" for cell in cells])
    assert sorted("again" in record.metadata for record in records) == [False, True, True]
    assert store.page(RunFilter(group_id=id)).total == 5


def test_a_prompt_that_a_configuration_cannot_answer_is_a_cell_with_the_reason(store: RunStore) -> None:
    engine = Engine({TASKS[1].prompt: ContextLengthError(9000, 8192), TASKS[2].prompt: GearboxError("NaN.")})
    id = run(engine, store, design())
    kept, cells = store.experiments.get(id), store.experiments.cells(id)
    assert (kept.state, kept.cells, kept.failed) == (ExperimentState.DONE, 12, 4)
    failed = [cell for cell in cells if cell.failed]
    assert {(cell.key.configuration, cell.key.prompt_id) for cell in failed} == {(1, "moon"), (1, "open")}
    assert {cell.failure for cell in failed} == {str(ContextLengthError(9000, 8192)), "NaN."}
    assert all(cell.run_id and store.get(cell.run_id).status is RunStatus.FAILED for cell in failed)
    asked = len(engine.requests)
    run(engine, store, design())
    assert len(engine.requests) == asked, "a failure is an answer: it is not asked again"


def test_what_no_prompt_has_to_do_with_stops_it_and_it_goes_on_later(store: RunStore) -> None:
    engine = Engine({TASKS[0].prompt: InsufficientMemoryError("There is no room for it.")})
    with pytest.raises(ExperimentError, match=r"int4 could not answer “sky”: There is no room"):
        run(engine, store, design())
    made = store.experiments.of_design(design().sha256)
    assert made is not None
    assert (made.state, made.failed) == (ExperimentState.FAILED, 0)
    assert made.error is not None
    assert "no room" in made.error
    run(Engine(), store, design())
    kept = store.experiments.get(made.id)
    assert (kept.state, kept.error, kept.cells, kept.failed) == (ExperimentState.DONE, None, 12, 0)


def test_paused_and_gone_on_with_it_comes_to_the_same_and_asks_nothing_twice(store: RunStore) -> None:
    whole = run(Engine(), store, design(name="Whole"))

    class PausedAfter(Told):
        def __init__(self, stages: int) -> None:
            super().__init__()
            self.left = stages

        def at(self, stage: str) -> None:
            self.left -= 1
            if self.left == 0:
                raise JobCancelled

    engine, pauses = Engine(), 0
    made = design(name="Paused")
    for stages in range(2, 400, 3):
        told = PausedAfter(stages)
        try:
            id = run(engine, store, made, told)
        except JobCancelled:
            pauses += 1
            kept = store.experiments.of_design(made.sha256)
            assert kept is not None
            assert kept.state is ExperimentState.PAUSED
        else:
            break
    assert pauses > 3
    assert untimed(store, id) == untimed(store, whole)
    finished = store.page(RunFilter(group_id=id, statuses=(RunStatus.FINISHED,))).total
    assert finished == 12, "no finished cell is asked again"
    assert told.fractions[1] > 0


def test_a_run_whose_cell_was_lost_is_adopted(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(Exception):
        """Stands for the end of the process."""

    engine, left, keep_cell = Engine(), [5], ExperimentStore.keep_cell

    def keep(self: ExperimentStore, experiment_id: str, cell: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KilledError
        keep_cell(self, experiment_id, cell)

    with monkeypatch.context() as patched:
        patched.setattr(ExperimentStore, "keep_cell", keep)
        with pytest.raises(KilledError):
            run(engine, store, design())
    kept = store.experiments.of_design(design().sha256)
    assert kept is not None
    assert kept.cells == 5
    finished = RunFilter(group_id=kept.id, statuses=(RunStatus.FINISHED,))
    lost = store.page(finished).total - 5
    assert lost > 0
    asked = len(engine.requests)
    run(engine, store, design())
    assert store.page(finished).total == 12
    assert len(engine.requests) - asked == 12 - 5 - lost + 2
    assert untimed(store, kept.id) == untimed(store, run(Engine(), store, design(name="Whole")))


def test_a_lost_first_run_that_was_disturbed_is_made_once_more(store: RunStore) -> None:
    class Paused(Told):
        def at(self, stage: str) -> None:
            if engine.requests[-1:] and "again" in engine.requests[-1].cache_salt:
                raise JobCancelled

    engine, made = Engine(), design(TASKS[:1], [configuration("int4")], passes=[Pass.SPEED])
    engine.disturbances = [QUIET, DISTURBED, QUIET]
    with pytest.raises(JobCancelled):
        run(engine, store, made, Paused())
    id = run(engine, store, made)
    (cell,) = store.experiments.cells(id)
    assert cell.disturbed is None, "the run that counts is the new one, of which the engine says nothing"


def test_other_weights_half_way_are_refused_in_words(store: RunStore) -> None:
    engine, made = Engine(), design()

    class Reinstalled(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("Speed"):
                raise JobCancelled

    with pytest.raises(JobCancelled):
        run(engine, store, made, Reinstalled())
    engine.WEIGHTS = "cd" * 32
    asked = len(engine.requests)
    with pytest.raises(ExperimentError, match="installed anew"):
        run(engine, store, made)
    assert len(engine.requests) == asked
    kept = store.experiments.of_design(made.sha256)
    assert kept is not None
    assert kept.state is ExperimentState.FAILED
    assert kept.error is not None
    assert "“16 bits”" in kept.error
    assert store.experiments.get(run(engine, store, replace(made, name="Anew"))).state is ExperimentState.DONE


def test_weights_that_change_while_it_runs_are_refused_too(store: RunStore) -> None:
    class Changing(Engine):
        def generate(self, request: GenerationRequest) -> FakeGeneration:
            generation = super().generate(request)
            finish = generation._finish
            weights = "cd" * 32 if len(self.requests) > 3 else self.WEIGHTS

            def finished(*given: Any) -> Any:
                ended = finish(*given)
                return replace(ended, environment={**ended.environment, "weights_sha256": weights})

            generation._finish = finished  # type: ignore[method-assign]
            return generation

    engine = Changing()
    with pytest.raises(ExperimentError, match="installed anew"):
        run(engine, store, design())
    kept = store.experiments.of_design(design().sha256)
    assert kept is not None
    assert {cell.weights_sha256 for cell in store.experiments.cells(kept.id)} == {engine.WEIGHTS}


def test_a_server_that_is_shut_down_leaves_it_paused(store: RunStore) -> None:
    class Closing(Engine):
        def generate(self, request: GenerationRequest) -> FakeGeneration:
            if len(self.requests) == 3:
                raise EngineClosedError("The engine has been closed.")
            return super().generate(request)

    with pytest.raises(EngineClosedError):
        run(Closing(), store, design())
    kept = store.experiments.of_design(design().sha256)
    assert kept is not None
    assert (kept.state, kept.failed) == (ExperimentState.PAUSED, 0)
    id = run(Engine(), store, design())
    assert (store.experiments.get(id).cells, store.experiments.get(id).failed) == (12, 0)


def test_one_that_is_deleted_meanwhile_ends_and_says_so(store: RunStore) -> None:
    class Deleting(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("Speed"):
                for kept in store.experiments.all():
                    store.experiments.delete(kept.id)

    with pytest.raises(GoneError, match="deleted"):
        run(Engine(), store, design(), Deleting())


def test_one_prompt_will_do(store: RunStore) -> None:
    id = run(Engine(), store, design(TASKS[:1], [configuration("int4")], repeats=3))
    assert [(cell.key.kind, cell.key.repeat) for cell in store.experiments.cells(id)] == [
        (Pass.QUALITY, 0), (Pass.SPEED, 0), (Pass.SPEED, 1), (Pass.SPEED, 2),
    ]  # fmt: skip


@pytest.mark.slow
def test_five_thousand_prompts_are_answered_once_each(store: RunStore) -> None:
    tasks = [replace(TASKS[n % 3], id=f"p{n}", prompt=f"{n}?") for n in range(5_000)]
    engine = Engine({"17?": ContextLengthError(9000, 8192)})
    id = run(engine, store, design(tasks, [configuration("int4")], passes=[Pass.QUALITY]))
    kept = store.experiments.get(id)
    assert (kept.state, kept.cells, kept.failed) == (ExperimentState.DONE, 5_000, 1)
    assert (
        len({cell.run_id for cell in store.experiments.cells(id)}) == store.page(RunFilter(group_id=id)).total == 5_000
    )
    assert {request.prompt for request in engine.requests} == {task.prompt for task in tasks}


def test_as_a_job_it_has_a_title_and_one_runs_at_a_time(store: RunStore, jobs: Jobs) -> None:
    kept = store.experiments.get(keep_design(store, design()))
    assert start(jobs, Engine(), store, kept, page="experiments")
    until = time.monotonic() + 30
    while (job := jobs.job(job_key(kept.id))) and job.state.running and time.monotonic() < until:
        time.sleep(0.01)
    assert job is not None
    assert (job.state.status, job.title, job.page) == ("done", "Experiment “Own”", "experiments")
    assert store.experiments.get(kept.id).state is ExperimentState.DONE
