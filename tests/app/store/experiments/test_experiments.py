"""What is kept of experiments: cells come back, are their owner's, and outlive their runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.store import (
    Cell,
    CellKey,
    ExperimentState,
    ExperimentStore,
    GoneError,
    Pass,
    RunOutcome,
    RunSource,
    RunStatus,
    RunStore,
    Viewer,
    run_metadata,
)
from tests.support.experiments import TASKS
from tests.support.fakes import make_metrics, make_request

KEY = CellKey(Pass.SPEED, 1, "sky ☃", 2)
CELL = Cell(
    key=KEY, run_id=None, weights_sha256="a" * 64, score=1.0, same_text=False, word_f1=0.25, answer_sha256="b" * 64,
    disturbed=True, e2e_s=1.5, ttft_s=0.1, tpot_s=0.02, prompt_tokens=12, cached_tokens=3, completion_tokens=70,
    weights_bytes=2**31, kv_bytes=2**20, peak_rss_bytes=2**33, mean_batch_size=1.0, kld=0.012, kld_tokens=70,
    no_kld="Too large.", energy_j=12.5, energy_by="RAPL",
)  # fmt: skip


def keep(store: ExperimentStore, name: str = "Own", sha256: str = "d" * 64) -> str:
    return store.keep(name=name, question="Ship it?", design={"seed": 3}, design_sha256=sha256, prompts=TASKS)


def finished_run(store: RunStore, experiment_id: str, key: CellKey, *, again: bool = False) -> str:
    run_id = store.create_run(
        make_request(),
        person_id=None,
        environment={},
        group_id=experiment_id,
        source=RunSource.EXPERIMENT,
        metadata=run_metadata(key, again=again),
    )
    store.finish_run(run_id, RunOutcome(status=RunStatus.FINISHED, text="It is.", metrics=make_metrics()))
    return run_id


def test_an_experiment_comes_back_with_its_prompts(store: RunStore) -> None:
    kept = store.experiments.get(keep(store.experiments))
    assert (kept.name, kept.question, kept.design, kept.state) == ("Own", "Ship it?", {"seed": 3}, ExperimentState.NEW)
    assert (kept.prompts, kept.cells, kept.failed) == (3, 0, 0)
    assert store.experiments.prompts(kept.id) == TASKS
    assert store.experiments.all() == (kept,)


def test_a_cell_comes_back_whole_and_takes_the_place_of_an_earlier_one(store: RunStore) -> None:
    id = keep(store.experiments)
    store.experiments.keep_cell(id, replace(CELL, run_id=finished_run(store, id, KEY), e2e_s=9.0))
    run_id = finished_run(store, id, KEY)
    failed = Cell(key=replace(KEY, repeat=0), run_id=None, weights_sha256="a" * 64, failure="Too long.")
    store.experiments.keep_cell(id, replace(CELL, run_id=run_id))
    store.experiments.keep_cell(id, failed)
    assert store.experiments.cells(id) == (failed, replace(CELL, run_id=run_id))
    kept = store.experiments.get(id)
    assert (kept.cells, kept.failed) == (2, 1)


def test_a_cell_outlives_its_run(store: RunStore) -> None:
    id = keep(store.experiments)
    kept, gone_before = finished_run(store, id, KEY), finished_run(store, id, KEY)
    store.experiments.keep_cell(id, replace(CELL, run_id=kept))
    store.delete([kept, gone_before])
    assert store.experiments.cells(id) == (CELL,)
    store.experiments.keep_cell(id, replace(CELL, run_id=gone_before))
    assert store.experiments.cells(id) == (CELL,)


def test_runs_without_a_cell_are_found_again(store: RunStore) -> None:
    id, other = keep(store.experiments), keep(store.experiments, "Other")
    key = replace(KEY, repeat=0)
    claimed, lost, second = (
        finished_run(store, id, KEY), finished_run(store, id, key), finished_run(store, id, key, again=True)
    )  # fmt: skip
    finished_run(store, other, KEY)
    store.create_run(make_request(), person_id=None, environment={}, group_id=id, source=RunSource.EXPERIMENT)
    store.experiments.keep_cell(id, replace(CELL, run_id=claimed))
    found = store.experiments.lost_cells(id)
    assert [(each.run_id, each.key, each.again) for each in found] == [(lost, key, False), (second, key, True)]
    assert store.experiments.answers([lost, second]) == {lost: "It is.", second: "It is."}


def test_somebody_elses_experiment_is_neither_listed_nor_found_nor_changed(store: RunStore) -> None:
    hers = store.seen_by(Viewer("her", sees_all=False)).experiments
    his = store.seen_by(Viewer("him", sees_all=False)).experiments
    id, desk = keep(hers), keep(store.experiments, "Desk")
    assert [each.id for each in his.all()] == [desk]
    assert {each.id for each in hers.all()} == {id, desk}
    assert his.of_design("d" * 64) == store.experiments.get(desk)
    for refused in (his.get, his.prompts, his.cells, his.delete):
        with pytest.raises(GoneError):
            refused(id)
    with pytest.raises(GoneError):
        his.set_state(id, ExperimentState.DONE)
    with pytest.raises(GoneError):
        his.set_judging(id, {})
    assert store.experiments.get(id).person_id == "her"


def test_how_its_judges_are_read_is_kept_with_it(store: RunStore) -> None:
    id = keep(store.experiments)
    assert store.experiments.get(id).judging is None
    judging = {"limits": {"silent": 0.05}, "counts": None}
    store.experiments.set_judging(id, judging)
    assert store.experiments.get(id).judging == judging
    assert store.experiments.all()[0].judging == judging


def test_the_newest_of_a_design_is_gone_on_with(store: RunStore) -> None:
    keep(store.experiments, "First")
    second = keep(store.experiments, "Second")
    found = store.experiments.of_design("d" * 64)
    assert found is not None
    assert found.id == second
    assert store.experiments.of_design("e" * 64) is None


def test_an_experiment_is_renamed_told_of_and_deleted_and_its_runs_stay(store: RunStore) -> None:
    id = keep(store.experiments)
    run_id = finished_run(store, id, KEY)
    store.experiments.keep_cell(id, replace(CELL, run_id=run_id))
    store.experiments.rename(id, "Better")
    store.experiments.set_state(id, ExperimentState.FAILED, "No memory.")
    kept = store.experiments.get(id)
    assert (kept.name, kept.state, kept.error) == ("Better", ExperimentState.FAILED, "No memory.")
    store.experiments.delete(id)
    with pytest.raises(GoneError):
        store.experiments.cells(id)
    with pytest.raises(GoneError):
        store.experiments.keep_cell(id, CELL)
    assert store.get(run_id).group_id == id
