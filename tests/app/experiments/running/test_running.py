"""The job: each cell once, in two passes, failures counted."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from app.background.jobs import Jobs
from app.experiments.running.starting import EXPERIMENT, keep_design
from app.store import ExperimentState, Pass, RunFilter, RunSource, RunStatus, RunStore
from engine.errors import ContextLengthError, GearboxError
from tests.support.disturbing import DISTURBED, QUIET
from tests.support.experiments import TASKS, AnsweringEngine, Told, configuration, design, run


def test_every_cell_is_a_stored_run_with_its_figures(store: RunStore) -> None:
    engine, told = AnsweringEngine(), Told()
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
    id = run(AnsweringEngine(), store, design(passes=[Pass.QUALITY]))
    found = {(cell.key.configuration, cell.key.prompt_id): cell for cell in store.experiments.cells(id)}
    assert [(found[1, name].score, found[1, name].word_f1) for name in ("sky", "moon")] == [(1.0, None), (0.0, None)]
    assert (found[0, "open"].same_text, found[0, "open"].word_f1) == (True, 1.0)
    assert (found[1, "open"].score, found[1, "open"].same_text) == (None, False)
    assert found[1, "open"].word_f1 == pytest.approx(8 / 10)


def test_the_two_passes_are_kept_apart(store: RunStore) -> None:
    engine = AnsweringEngine()
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
    engine = AnsweringEngine()
    engine.disturbances = [QUIET, DISTURBED, QUIET, DISTURBED, DISTURBED, QUIET]  # the first warms up
    id = run(engine, store, design(configurations=[configuration("int4")], passes=[Pass.SPEED]))
    cells = store.experiments.cells(id)
    assert sorted(bool(cell.disturbed) for cell in cells) == [False, False, True]
    records = store.get_many([cell.run_id or "" for cell in cells])
    assert sorted("again" in record.metadata for record in records) == [False, True, True]
    assert store.page(RunFilter(group_id=id)).total == 5


def test_a_prompt_that_a_configuration_cannot_answer_is_a_cell_with_the_reason(store: RunStore) -> None:
    engine = AnsweringEngine({TASKS[1].prompt: ContextLengthError(9000, 8192), TASKS[2].prompt: GearboxError("NaN.")})
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


def test_one_prompt_will_do(store: RunStore) -> None:
    id = run(AnsweringEngine(), store, design(TASKS[:1], [configuration("int4")], repeats=3))
    assert [(cell.key.kind, cell.key.repeat) for cell in store.experiments.cells(id)] == [
        (Pass.QUALITY, 0), (Pass.SPEED, 0), (Pass.SPEED, 1), (Pass.SPEED, 2),
    ]  # fmt: skip


@pytest.mark.slow
def test_five_thousand_prompts_are_answered_once_each(store: RunStore) -> None:
    tasks = [replace(TASKS[n % 3], id=f"p{n}", prompt=f"{n}?") for n in range(5_000)]
    engine = AnsweringEngine({"17?": ContextLengthError(9000, 8192)})
    id = run(engine, store, design(tasks, [configuration("int4")], passes=[Pass.QUALITY]))
    kept = store.experiments.get(id)
    assert (kept.state, kept.cells, kept.failed) == (ExperimentState.DONE, 5_000, 1)
    assert (
        len({cell.run_id for cell in store.experiments.cells(id)}) == store.page(RunFilter(group_id=id)).total == 5_000
    )
    assert {request.prompt for request in engine.requests} == {task.prompt for task in tasks}


def test_as_a_job_it_has_a_title_and_one_runs_at_a_time(store: RunStore, jobs: Jobs) -> None:
    kept = store.experiments.get(keep_design(store, design()))
    assert EXPERIMENT.start(jobs, AnsweringEngine(), store, kept, page="experiments")
    until = time.monotonic() + 30
    while (job := jobs.job(EXPERIMENT.job_key(kept.id))) and job.state.running and time.monotonic() < until:
        time.sleep(0.01)
    assert job is not None
    assert (job.state.status, job.title, job.page) == ("done", "Experiment “Own”", "experiments")
    assert store.experiments.get(kept.id).state is ExperimentState.DONE
