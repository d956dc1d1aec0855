"""The Router lab's data sets: those that come with Gearbox, those recorded here, and what is worked out once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from app.quantization.tasks import tasks_sha256
from app.router import lab as lab_module
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.choosing.verdict import verdict
from app.router.lab import RouterLab, moved, nearest
from app.router.recorded.data_sets import DataSet, read_built_in
from app.store import RunStore
from engine.cascade import Costs, KeepQuality, Rates, data_hash, write_prompts
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


class Gate:
    """Lets a file of recorded answers be read only when it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.read = 0

        def read(path: Path) -> DataSet:
            if path.stem == name:
                self.read += 1
                self.reached.set()
                assert self.open.wait(60)
            return read_built_in(path)

        monkeypatch.setattr(lab_module, "read_built_in", read)


def test_a_set_that_is_worked_out_holds_up_nobody_who_looks_at_another(
    lab: RouterLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(tmp_path / "pairs", "large", 60)
    ship(tmp_path / "pairs", "small", 30)
    gate = Gate(monkeypatch, "large")
    with ThreadPoolExecutor() as people:
        large = people.submit(lab.data_set, "built-in:large")
        try:
            assert gate.reached.wait(60)
            small = people.submit(lab.data_set, "built-in:small").result(timeout=60)
            assert (small.size, large.done()) == (30, False)
        finally:
            gate.open.set()
        assert large.result().size == 60


def test_what_several_want_at_once_is_worked_out_once(
    lab: RouterLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(tmp_path / "pairs", "large", 60)
    gate = Gate(monkeypatch, "large")
    with ThreadPoolExecutor(8) as people:
        asked = [people.submit(lab.data_set, "built-in:large") for _ in range(8)]
        assert gate.reached.wait(60)
        gate.open.set()
        found = [each.result() for each in asked]
    assert all(each is found[0] for each in found)
    assert gate.read == 1


def test_what_failed_is_tried_again(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 2, {"name": "no title"})
    with pytest.raises(RecordedPairsError, match=r"mixed\.json"):
        lab.data_set("built-in:mixed")
    (tmp_path / "pairs" / "mixed.json").unlink()
    assert lab.data_set("built-in:mixed").size == 2


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


SERVER = Costs(
    name="server",
    unit="s",
    tiers={
        WEAK: Rates(per_answer=0.0, per_prompt_token=0.0, per_completion_token=0.3),
        STRONG: Rates(per_answer=0.0, per_prompt_token=0.0, per_completion_token=0.4),
    },
)


def test_a_threshold_is_chosen_for_another_machines_times(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 400)
    data = lab.data_set("built-in:mixed")
    here = lab.study(data, WEAK, STRONG, Choice.ESCALATE)
    there = lab.study_elsewhere(data, here, SERVER)
    assert there.costs == SERVER
    assert there.data.strong_cost == pytest.approx(12 * 0.4)
    assert (there.data.router_score == here.data.router_score).all()
    assert there.data.ids == here.data.ids
    # here the small model is four times as quick; there hardly quicker, and a try in vain costs more than it saves
    target = KeepQuality(0.95)
    assert lab.selection(here, target).test.cost_share.value < 1  # type: ignore[union-attr]
    assert not lab.selection(there, target).choice.saves
    assert lab.study_elsewhere(data, here, SERVER) is there


def test_prices_make_a_threshold_of_money(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 60)
    data = lab.data_set("built-in:mixed")
    prices = Costs(
        name="prices",
        unit="$",
        tiers={
            tier: Rates(per_answer=0.0, per_prompt_token=1e-6, per_completion_token=2e-6) for tier in (WEAK, STRONG)
        },
    )
    study = lab.study_elsewhere(data, lab.study(data, WEAK, STRONG, Choice.ESCALATE), prices)
    assert study.data.weak_cost == pytest.approx(7e-6 + 24e-6)
    assert (study.data.extra_cost == 0).all()
    assert lab.held_out(study, 0.5).prompts == 30


def test_the_half_that_reports_has_the_figures_of_a_saved_profile(lab: RouterLab, tmp_path: Path) -> None:
    ship(tmp_path / "pairs", "mixed", 120)
    study = lab.study(lab.data_set("built-in:mixed"), WEAK, STRONG, Choice.ESCALATE)
    figures = lab.held_out(study, 0.4)
    made = study.profile("One", 0.4, {WEAK: "a" * 64, STRONG: "b" * 64}, "", date(2026, 3, 14))
    assert made.figures["quality"] == figures.quality.value
    assert made.figures["missed"] == figures.missed.value
    assert figures.prompts == 60
    assert lab.figures(study, 0.4).prompts == 120


def test_five_thousand_prompts_of_a_hundred_categories_have_a_verdict(lab: RouterLab) -> None:
    prompts = [replace(each, category=f"c{n % 100}") for n, each in enumerate(recorded(5000))]
    study = Study.of(prompts, WEAK, STRONG, Choice.ESCALATE)
    selection = lab.selection(study, KeepQuality(0.95))
    assert selection.promise.shown
    assert selection.test.prompts == selection.calibration.prompts == 2500
    assert verdict(study, selection).outcome == "shown"


def test_a_mark_on_a_large_answer_alone_changes_what_is_picked(lab: RouterLab, store: RunStore) -> None:
    tasks = tuple(replace(TASKS[0], id=f"t{n}", prompt=f"{n}?") for n in range(40))
    identity = tasks_sha256(tasks)
    store.router.keep_set(identity, "Sums", tasks)
    for n, task in enumerate(tasks):
        store.router.keep_answer(identity, task.id, WEAK, "w", answer(0.0, (-n / 10, -0.1)), {})
        store.router.keep_answer(identity, task.id, STRONG, "v", answer(0.0, e2e_s=4.0, text=f"large {n}"), {})

    def selected() -> float:
        study = lab.study(lab.data_set(identity), WEAK, STRONG, Choice.ESCALATE)
        selection = lab.selection(study, KeepQuality(0.9))
        assert lab.held_out(study, 0.0).strong == selection.test.strong
        return selection.test.strong.value + selection.calibration.strong.value

    assert selected() == 0
    store.router.mark(identity, "t7", STRONG, "v", "large 7", True)
    assert selected() > 0
