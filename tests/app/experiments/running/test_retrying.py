"""Answers that failed are asked again where somebody wants it, and nothing else is."""

from __future__ import annotations

import pytest

from app.background.jobs import JobCancelled
from app.experiments.running.job import run_experiment
from app.store import Cell, ExperimentState, Pass, RunStore, StartedFrom, UnderWayError
from engine.errors import GearboxError
from engine.types import GenerationRequest
from tests.support.experiments import TASKS, AnsweringEngine, Told, design, keep_design, run, untimed


def retry(engine: AnsweringEngine, store: RunStore, id: str, told: Told | None = None) -> None:
    run_experiment(engine, store, id, told or Told(), retry_failed=True)


def answered(store: RunStore, id: str) -> dict[object, Cell]:
    return {cell.key: cell for cell in store.experiments.cells(id) if not cell.failed}


def test_what_comes_of_them_takes_their_place_and_nothing_else_is_asked(store: RunStore) -> None:
    engine = AnsweringEngine({TASKS[1].prompt: GearboxError("NaN.")})
    id = run(engine, store, design())
    before, asked = answered(store, id), len(engine.requests)
    assert store.experiments.get(id).failed == 2
    engine.refusals = {}
    retry(engine, store, id)
    again = engine.requests[asked:]
    assert {request.prompt for request in again} == {TASKS[1].prompt}
    assert len(again) == 2 + 1, "one of each pass, and the warm-up"
    kept = store.experiments.get(id)
    assert (kept.state, kept.cells, kept.failed) == (ExperimentState.DONE, 12, 0)
    assert before.items() <= answered(store, id).items()
    assert untimed(store, id) == untimed(store, run(AnsweringEngine(), store, design(name="Whole")))


def test_those_that_fail_again_stay_failed(store: RunStore) -> None:
    engine = AnsweringEngine({TASKS[1].prompt: GearboxError("NaN.")})
    id = run(engine, store, design())
    engine.refusals = {TASKS[1].prompt: GearboxError("Infinity.")}
    retry(engine, store, id)
    failed = [cell for cell in store.experiments.cells(id) if cell.failed]
    assert [cell.failure for cell in failed] == ["Infinity."] * 2
    assert store.experiments.get(id).cells == 12


def test_paused_amid_them_what_was_not_asked_again_is_as_it_was(store: RunStore) -> None:
    engine = AnsweringEngine({task.prompt: GearboxError("NaN.") for task in TASKS})
    id = run(engine, store, design())
    engine.refusals = {}

    class Paused(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("Speed"):
                raise JobCancelled

    with pytest.raises(JobCancelled):
        retry(engine, store, id, Paused())
    kept = store.experiments.get(id)
    assert (kept.state, kept.cells, kept.failed) == (ExperimentState.PAUSED, 12, 3)
    assert {cell.key.kind for cell in store.experiments.cells(id) if cell.failed} == {Pass.SPEED}
    retry(engine, store, id)
    assert store.experiments.get(id).failed == 0


class Failing(AnsweringEngine):
    """Fails in 16 bits what the other fails in 4."""

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        return None if request.config.optimization.quantization else self.refusals.get(request.prompt)


def test_answers_are_held_against_a_baseline_that_only_now_has_one(store: RunStore) -> None:
    engine = Failing({TASKS[2].prompt: GearboxError("NaN.")})
    id = run(engine, store, design(passes=[Pass.QUALITY]))
    found = {(cell.key.configuration, cell.key.prompt_id): cell for cell in store.experiments.cells(id)}
    assert (found[1, "open"].word_f1, found[1, "open"].kld) == (None, None)
    read = len(engine.read_again)
    engine.refusals = {}
    retry(engine, store, id)
    whole = run(AnsweringEngine(), store, design(passes=[Pass.QUALITY], name="Whole"))
    assert untimed(store, id) == untimed(store, whole)
    found = {(cell.key.configuration, cell.key.prompt_id): cell for cell in store.experiments.cells(id)}
    assert found[1, "open"].kld == pytest.approx(0.01)
    assert found[1, "open"].no_kld is None
    assert [prompt for prompt, *_ in engine.read_again[read:]] == [TASKS[2].prompt], "and no other is read again"


def test_two_jobs_do_not_run_one_experiment(store: RunStore) -> None:
    engine, id = AnsweringEngine(), keep_design(store, design())
    store.experiments.begin(id, StartedFrom.COMMAND_LINE)
    with pytest.raises(UnderWayError, match="command line"):
        run_experiment(engine, store, id, Told())
    assert engine.requests == []
    assert store.experiments.get(id).state is ExperimentState.RUNNING, "the other one goes on"
    store.experiments.set_state(id, ExperimentState.PAUSED)
    run_experiment(engine, store, id, Told())
    assert store.experiments.get(id).state is ExperimentState.DONE
