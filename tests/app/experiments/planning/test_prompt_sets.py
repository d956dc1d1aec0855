"""The sets of prompts that are offered."""

from __future__ import annotations

from app.experiments.planning.prompt_sets import prompt_sets
from app.experiments.planning.scoring import has_checker
from app.quantization.tasks import tasks_sha256
from app.store import RunStore
from tests.support.experiments import TASKS


def test_the_projects_own_come_first_and_have_checkers(store: RunStore) -> None:
    sets = prompt_sets(store)
    own = list(sets)[:2]
    assert own == ["Gearbox's mixed prompts", "Gearbox's tasks"]
    for name in own:
        assert all(has_checker(task) for task in sets[name]())


def test_those_brought_are_read_when_they_are_wanted(store: RunStore) -> None:
    store.router.keep_set(tasks_sha256(TASKS), "Mine", TASKS)
    assert tuple(prompt_sets(store)["Mine"]()) == TASKS


def test_two_of_one_name_are_told_apart(store: RunStore) -> None:
    store.router.keep_set(tasks_sha256(TASKS), "Gearbox's tasks", TASKS)
    sets = prompt_sets(store)
    (other,) = [name for name in sets if name.startswith("Gearbox's tasks · ")]
    assert tuple(sets[other]()) == TASKS
