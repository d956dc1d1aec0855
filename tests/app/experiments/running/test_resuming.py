"""A job that was ended goes on where it was, asks nothing twice, and only with the weights that it began with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.background.jobs import JobCancelled
from app.experiments.running.weights import ExperimentError
from app.store import ExperimentState, GoneError, Pass, RunFilter, RunStatus, RunStore
from app.store.experiments.repository import ExperimentStore
from engine.errors import EngineClosedError, InsufficientMemoryError
from engine.types import GenerationRequest
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.experiments import TASKS, AnsweringEngine, Told, configuration, design, run, untimed
from tests.support.fakes import FakeGeneration


def test_what_no_prompt_has_to_do_with_stops_it_and_it_goes_on_later(store: RunStore) -> None:
    engine = AnsweringEngine({TASKS[0].prompt: InsufficientMemoryError("There is no room for it.")})
    with pytest.raises(ExperimentError, match=r"int4 could not answer “sky”: There is no room"):
        run(engine, store, design())
    made = store.experiments.of_design(design().sha256)
    assert made is not None
    assert (made.state, made.failed) == (ExperimentState.FAILED, 0)
    assert made.error is not None
    assert "no room" in made.error
    run(AnsweringEngine(), store, design())
    kept = store.experiments.get(made.id)
    assert (kept.state, kept.error, kept.cells, kept.failed) == (ExperimentState.DONE, None, 12, 0)


def test_paused_and_gone_on_with_it_comes_to_the_same_and_asks_nothing_twice(store: RunStore) -> None:
    whole = run(AnsweringEngine(), store, design(name="Whole"))

    class PausedAfter(Told):
        def __init__(self, stages: int) -> None:
            super().__init__()
            self.left = stages

        def at(self, stage: str) -> None:
            self.left -= 1
            if self.left == 0:
                raise JobCancelled

    engine, pauses = AnsweringEngine(), 0
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

    engine, left, keep_cell = AnsweringEngine(), [5], ExperimentStore.keep_cell

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
    assert untimed(store, kept.id) == untimed(store, run(AnsweringEngine(), store, design(name="Whole")))


def test_a_lost_first_run_that_was_disturbed_is_made_once_more(store: RunStore) -> None:
    class Paused(Told):
        def at(self, stage: str) -> None:
            if engine.requests[-1:] and "again" in engine.requests[-1].cache_salt:
                raise JobCancelled

    engine, made = AnsweringEngine(), design(TASKS[:1], [configuration("int4")], passes=[Pass.SPEED])
    engine.disturbances = [QUIET, DISTURBED, QUIET]
    with pytest.raises(JobCancelled):
        run(engine, store, made, Paused())
    id = run(engine, store, made)
    (cell,) = store.experiments.cells(id)
    assert cell.disturbed is None, "the run that counts is the new one, of which the engine says nothing"


def test_other_weights_half_way_are_refused_in_words(store: RunStore) -> None:
    engine, made = AnsweringEngine(), design()

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
    class Changing(AnsweringEngine):
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
    class Closing(AnsweringEngine):
        def generate(self, request: GenerationRequest) -> FakeGeneration:
            if len(self.requests) == 3:
                raise EngineClosedError("The engine has been closed.")
            return super().generate(request)

    with pytest.raises(EngineClosedError):
        run(Closing(), store, design())
    kept = store.experiments.of_design(design().sha256)
    assert kept is not None
    assert (kept.state, kept.failed) == (ExperimentState.PAUSED, 0)
    id = run(AnsweringEngine(), store, design())
    assert (store.experiments.get(id).cells, store.experiments.get(id).failed) == (12, 0)


def test_one_that_is_deleted_meanwhile_ends_and_says_so(store: RunStore) -> None:
    class Deleting(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("Speed"):
                for kept in store.experiments.all():
                    store.experiments.delete(kept.id)

    with pytest.raises(GoneError, match="deleted"):
        run(AnsweringEngine(), store, design(), Deleting())
