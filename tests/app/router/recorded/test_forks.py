"""A set made from another: prompts changed, answers to the unchanged ones along, recordings of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.quantization.tasks import tasks_sha256
from app.router.recorded.forks import edited, expected_text, keep_fork
from app.store import RouterStore, RunStore, Viewer
from engine.errors import InvalidRequestError
from engine.evaluation.tasks import MIXED_FILE, Task, load_tasks
from tests.support.cascade import WEAK, answer

TASKS = tuple(
    Task(id=f"t{n}", category="Sums", prompt=f"{n} + {n}?", checker="number", expected=2 * n, max_tokens=8)
    for n in range(3)
)
SET = tasks_sha256(TASKS)


@pytest.fixture
def router(store: RunStore) -> RouterStore:
    store.router.keep_set(SET, "Sums", TASKS)
    for task in TASKS:
        store.router.keep_answer(SET, task.id, WEAK, "w", answer(text=task.id), {"cpu": "x"})
    for task in TASKS[:2]:
        store.router.mark(SET, task.id, WEAK, "w", task.id, False)
    return store.router


def test_answers_to_unchanged_prompts_come_along_and_no_others(router: RouterStore) -> None:
    changed = (TASKS[0], replace(TASKS[1], expected=7), replace(TASKS[2], category="Other"))
    fork = keep_fork(router, SET, "Mine", changed, TASKS)
    assert router.tasks(fork) == changed
    assert router.answers(fork, WEAK, "w").keys() == {"t0", "t2"}
    assert router.answers(SET, WEAK, "w").keys() == {"t0", "t1", "t2"}
    assert router.recorded(fork)[0].environment == {"cpu": "x"}
    assert [mark.prompt_id for mark in router.marks(fork)] == ["t0"]


def test_answers_that_are_to_be_recorded_again_are_so_in_the_fork_too(router: RouterStore) -> None:
    router.renew(SET, WEAK, "w")
    fork = keep_fork(router, SET, "Mine", TASKS[:2], TASKS)
    assert router.recorded(fork)[0].to_renew == 2
    assert router.answered(fork, WEAK, "w") == frozenset()


def test_a_copy_of_the_same_prompts_is_a_set_of_its_own(router: RouterStore) -> None:
    fork = keep_fork(router, None, "Copy", TASKS, TASKS)
    assert {kept.name for kept in router.sets()} == {"Sums", "Copy"}
    assert router.recorded(fork) == ()
    router.delete_set(SET)
    assert router.tasks(fork) == TASKS


def test_a_fork_is_its_makers_and_what_others_cannot_see_cannot_be_forked(store: RunStore) -> None:
    ann, bob = (store.seen_by(Viewer(name, sees_all=False)).router for name in ("ann", "bob"))
    ann.keep_set(SET, "Ann's", TASKS)
    fork = keep_fork(ann, SET, "Fork", TASKS[:1], TASKS)
    assert {kept.sha256 for kept in ann.sets()} == {SET, fork}
    assert bob.sets() == ()


@pytest.mark.parametrize(("name", "tasks", "says"), [(" ", TASKS, "a name"), ("x", (), "a prompt at least")])
def test_a_fork_needs_a_name_and_a_prompt(router: RouterStore, name: str, tasks: tuple[Task, ...], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        keep_fork(router, SET, name, tasks, TASKS)
    assert len(router.sets()) == 1


def test_what_is_edited_is_checked_and_named() -> None:
    assert edited(TASKS[1], "row 2", prompt="2 + 1?", category="", expected="3").expected == 3
    with pytest.raises(InvalidRequestError, match=r"Row 2 cannot be checked by column “Expected”: .*JSON"):
        edited(TASKS[1], "row 2", prompt="?", category="", expected="three")
    with pytest.raises(InvalidRequestError, match="Row 2 has no text in column “Prompt”"):
        edited(TASKS[1], "row 2", prompt=" ", category="", expected="2")


def test_what_is_not_edited_stays_as_it_was() -> None:
    for task in load_tasks(MIXED_FILE):
        same = edited(task, "row 1", prompt=task.prompt, category=task.category, expected=expected_text(task))
        assert same == task
