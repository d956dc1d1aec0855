"""The KLD of candidates: measured once for each of the baseline's answers, kept with its cell, never twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.background.jobs import JobCancelled
from app.experiments.running.job import run_experiment
from app.experiments.running.starting import keep_design
from app.store import Cell, ExperimentState, Pass, RunStore
from engine import WindowDivergence
from engine.errors import ContextLengthError, GearboxError, InsufficientMemoryError, NonFiniteLogitsError
from engine.types import GenerationRequest, OptimizationConfig, Precision
from tests.support.experiments import TASKS, AnsweringEngine, Told, configuration, design, run
from tests.support.fakes import silent

THREE = (configuration("16 bits", Precision.BF16), configuration("int8", Precision.INT8), configuration("int4"))
KLDS = {Precision.INT8: 0.001, Precision.INT4: 0.25}


def klds(store: RunStore, id: str) -> dict[tuple[int, str], tuple[float | None, str | None]]:
    """Of the quality pass's cells that have one or a reason for none."""
    return {
        (cell.key.configuration, cell.key.prompt_id): (cell.kld, cell.no_kld)
        for cell in store.experiments.cells(id)
        if cell.kld is not None or cell.no_kld is not None
    }


class Broken(AnsweringEngine):
    """Some candidates' comparisons fail."""

    def __init__(self, failure: GearboxError, fails: Sequence[Precision], most: int = 16) -> None:
        super().__init__(klds=KLDS)
        self.failure_of, self.broken, self.most = failure, set(fails), most

    def compare_candidates(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        candidates: Sequence[OptimizationConfig],
        progress: object = silent,
    ) -> tuple[WindowDivergence, ...]:
        if len(candidates) > self.most or self.broken & {each.precision for each in candidates}:
            raise self.failure_of
        return super().compare_candidates(request, token_ids, candidates)


def test_it_is_measured_along_the_baselines_answers_once_for_all_candidates(store: RunStore) -> None:
    engine, told = AnsweringEngine(klds=KLDS), Told()
    id = run(engine, store, design(configurations=THREE), told)
    assert [(prompt, len(candidates)) for prompt, _, candidates in engine.read_again] == [
        (task.prompt, 2) for task in TASKS
    ]
    cells = {(cell.key.kind, cell.key.configuration, cell.key.prompt_id): cell for cell in store.experiments.cells(id)}
    for _, token_ids, _ in engine.read_again:
        assert len(token_ids) == cells[Pass.QUALITY, 0, "sky"].completion_tokens
    assert cells[Pass.QUALITY, 1, "sky"].kld == pytest.approx(0.001)
    assert (cells[Pass.QUALITY, 2, "open"].kld, cells[Pass.QUALITY, 2, "open"].kld_tokens) == (pytest.approx(0.25), 6)
    assert cells[Pass.QUALITY, 0, "sky"].kld is cells[Pass.SPEED, 2, "sky"].kld is None
    assert any(stage == "KLD from 16 bits · answer 2 of 3" for stage in told.stages)
    assert told.fractions == sorted(told.fractions)
    assert told.fractions[-1] == 1.0


def test_what_is_there_is_not_measured_again(store: RunStore) -> None:
    class Paused(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("KLD from 16 bits · answer 3"):
                raise JobCancelled

    engine, made = AnsweringEngine(klds=KLDS), design(configurations=THREE)
    with pytest.raises(JobCancelled):
        run(engine, store, made, Paused())
    assert len(engine.read_again) == 2
    told = Told()
    id = run(engine, store, made, told)
    assert [prompt for prompt, _, _ in engine.read_again] == [task.prompt for task in TASKS]
    assert len(klds(store, id)) == 6
    assert told.fractions[1] > 0
    assert store.experiments.get(id).cells == 18


def test_an_experiment_without_16_bits_reads_nothing_again(store: RunStore) -> None:
    engine = AnsweringEngine()
    run(engine, store, design(configurations=THREE[1:]))
    run(engine, store, design(configurations=THREE, passes=[Pass.SPEED], name="Times"))
    assert engine.read_again == []


def test_who_has_no_time_for_it_can_leave_it_out(store: RunStore) -> None:
    engine, id = AnsweringEngine(), keep_design(store, design())
    told = Told()
    run_experiment(engine, store, id, told, kld=False)
    assert (engine.read_again, klds(store, id)) == ([], {})
    assert store.experiments.get(id).state is ExperimentState.DONE
    assert told.fractions == sorted(told.fractions)


def test_candidates_that_do_not_fit_together_are_read_one_after_the_other(store: RunStore) -> None:
    engine = Broken(InsufficientMemoryError("All must be in memory."), (), most=1)
    found = klds(store, run(engine, store, design(configurations=THREE)))
    for (place, _), (kld, _) in found.items():
        assert kld == pytest.approx(0.001 if place == 1 else 0.25)
    order = [candidate.precision for _, _, (candidate,) in engine.read_again]
    assert order == [Precision.INT8] * 3 + [Precision.INT4] * 3, "a model is not loaded anew for each answer"


@pytest.mark.parametrize("failure", [InsufficientMemoryError("There is no room."), NonFiniteLogitsError("NaN.")])
def test_one_that_cannot_be_read_says_why_and_the_others_have_theirs(store: RunStore, failure: GearboxError) -> None:
    id = run(Broken(failure, [Precision.INT4]), store, design(configurations=THREE))
    found = klds(store, id)
    assert [found[1, task.id] for task in TASKS] == [(pytest.approx(0.001), None)] * 3
    assert [found[2, task.id] for task in TASKS] == [(None, str(failure))] * 3
    assert store.experiments.get(id).state is ExperimentState.DONE


def test_a_prompt_without_an_answer_has_none(store: RunStore) -> None:
    class Refusing(AnsweringEngine):
        def fails(self, request: GenerationRequest) -> GearboxError | None:
            both, one = TASKS[0].prompt, TASKS[1].prompt
            four_bits = request.config.optimization.quantization is not None
            refused = request.prompt == one if four_bits else request.prompt == both
            return ContextLengthError(9000, 8192) if refused else None

    found = klds(store, run(Refusing(), store, design()))
    assert found == {
        (1, "sky"): (None, "The baseline has no answer to it."),
        (1, "open"): (pytest.approx(0.01), None),
    }


def test_a_baselines_run_that_was_deleted_is_told_of(store: RunStore) -> None:
    class Deleting(Told):
        def at(self, stage: str) -> None:
            if stage.startswith("KLD from 16 bits · answer 1"):
                runs = {(c.key.configuration, c.key.prompt_id): c.run_id for c in self.cells()}
                store.delete([runs[0, "sky"] or ""])

        def cells(self) -> tuple[Cell, ...]:
            (kept,) = store.experiments.all()
            return store.experiments.cells(kept.id)

    found = klds(store, run(AnsweringEngine(), store, design(), Deleting()))
    assert found[1, "sky"] == (None, "The run of the baseline's answer was deleted.")
    assert found[1, "moon"][0] == pytest.approx(0.01)
