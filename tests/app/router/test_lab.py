"""The Router lab's data sets: those that come with Gearbox, those recorded here, and what is worked out once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab, moved, nearest
from app.router.scoring import Choice
from app.store import RunStore
from engine.cascade import KeepQuality, data_hash, write_prompts
from engine.errors import RecordedPairsError
from engine.evaluation.tasks import Task
from tests.support.cascade import STRONG, WEAK, answer, recorded

TASKS = tuple(
    Task(id=f"t{n}", category="Sums", prompt=f"{n} + {n}?", checker="number", expected=2 * n, max_tokens=8)
    for n in range(4)
)
SET = tasks_sha256(TASKS)


@pytest.fixture
def lab(store: RunStore, tmp_path: Path) -> RouterLab:
    return RouterLab(store, tmp_path / "pairs")


def ship(lab_folder: Path, name: str, prompts: int, about: dict[str, object] | None = None) -> None:
    lab_folder.mkdir(exist_ok=True)
    write_prompts(lab_folder / f"{name}.jsonl", recorded(prompts))
    if about:
        (lab_folder / f"{name}.json").write_text(json.dumps(about))


def test_without_anything_there_is_nothing(lab: RouterLab) -> None:
    assert lab.names() == {}
    with pytest.raises(RecordedPairsError):
        lab.data_set("built-in:mixed")
    with pytest.raises(RecordedPairsError):
        lab.data_set("s" * 64)


def test_what_comes_with_gearbox_is_read_where_it_lies(lab: RouterLab, store: RunStore, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 30, {"title": "Mixed", "weights_sha256": {WEAK: "a" * 64}})
    assert lab.names() == {"built-in:mixed": "Mixed (comes with Gearbox)"}
    data = lab.data_set("built-in:mixed")
    assert data.built_in
    assert data.tiers == (WEAK, STRONG)
    assert data.weights == {WEAK: "a" * 64}
    assert (data.size, data.answered(WEAK)) == (30, 30)
    assert data.sha256 == data_hash(recorded(30))
    assert store.router.sets() == ()
    assert lab.data_set("built-in:mixed") is data


def test_a_broken_file_says_which(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 2, {"name": "no title"})
    with pytest.raises(RecordedPairsError, match=r"mixed\.json"):
        lab.data_set("built-in:mixed")


def test_a_recorded_set_is_read_anew_when_answers_come(lab: RouterLab, store: RunStore) -> None:
    store.router.keep_set(SET, "Sums", TASKS)
    assert lab.names() == {SET: "Sums"}
    empty = lab.data_set(SET)
    assert (empty.prompts, empty.size, empty.tiers) == ((), 4, ())
    for task in TASKS[:2]:
        store.router.keep_answer(SET, task.id, WEAK, "w", answer(), {})
    store.router.keep_answer(SET, "t0", STRONG, "v", answer(None, e2e_s=4.0), {})
    data = lab.data_set(SET)
    assert [prompt.prompt_id for prompt in data.prompts] == ["t0", "t1"]
    assert data.tiers == (WEAK, STRONG)
    assert data.scores(STRONG) == []
    assert data.weights == {WEAK: "w", STRONG: "v"}


def test_answers_of_two_weights_are_not_mixed(lab: RouterLab, store: RunStore) -> None:
    store.router.keep_set(SET, "Sums", TASKS)
    for task in TASKS:
        store.router.keep_answer(SET, task.id, WEAK, "old", answer(0.0), {})
    store.router.keep_answer(SET, "t0", WEAK, "new", answer(1.0), {})
    data = lab.data_set(SET)
    assert (data.weights, data.scores(WEAK)) == ({WEAK: "new"}, [1.0])


def test_what_was_worked_out_is_kept(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 60)
    data = lab.data_set("built-in:mixed")
    study = lab.study(data, WEAK, STRONG, Choice.ESCALATE)
    assert lab.study(data, WEAK, STRONG, Choice.ESCALATE) is study
    assert lab.metrics(study) is lab.metrics(study)
    assert lab.selection(study, KeepQuality(0.9)) is lab.selection(study, KeepQuality(0.9))
    chance = lab.study(data, WEAK, STRONG, Choice.CHANCE)
    assert lab.resampling(chance.data) is lab.resampling(study.data)
    assert lab.metrics(chance) is not lab.metrics(study)


def test_prompts_that_change_sides_lie_between_the_thresholds(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 60)
    study = lab.study(lab.data_set("built-in:mixed"), WEAK, STRONG, Choice.ESCALATE)
    score = study.data.router_score
    rows = moved(study, 0.4, 0.6)
    assert rows
    assert {*rows} == {row for row in range(60) if 0.4 <= score[row] < 0.6}
    assert [*rows] == [*moved(study, 0.6, 0.4)] == sorted(rows, key=lambda row: -score[row])
    assert moved(study, 0.5, 0.5) == []
    assert len(nearest(study, 0.5, 7)) == 7
