"""The scores that count: the checker's, what somebody says of an answer, and likeness without a checker."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.quantization.tasks import tasks_sha256
from app.router.lab import RouterLab
from app.store import RunStore, Viewer
from engine.evaluation.tasks import Task
from tests.support.cascade import STRONG, WEAK, answer

CHECKED = Task(id="sum", category="Sums", prompt="2 + 2?", checker="number", expected=4, max_tokens=8)
OPEN = Task(id="open", category="Chat", prompt="How are you?", max_tokens=8)
TASKS = (CHECKED, OPEN)
SET = tasks_sha256(TASKS)
ANN, BOB = Viewer("ann", sees_all=False), Viewer("bob", sees_all=False)


@pytest.fixture
def recorded(store: RunStore) -> RunStore:
    store.router.keep_set(SET, "Own", TASKS)
    keep = store.router.keep_answer
    keep(SET, "sum", WEAK, "w", answer(0.0, text="five"), {})
    keep(SET, "sum", STRONG, "v", answer(1.0, text="4", e2e_s=4.0), {})
    keep(SET, "open", WEAK, "w", answer(None, text="I am well"), {})
    keep(SET, "open", STRONG, "v", answer(None, text="I am well today", e2e_s=4.0), {})
    return store


def scores(store: RunStore, tmp_path: Path) -> dict[str, dict[str, float | None]]:
    prompts = RouterLab(store, tmp_path).data_set(SET).prompts
    return {p.prompt_id: {tier: each.score for tier, each in p.answers.items()} for p in prompts}


def test_without_a_checker_likeness_to_the_large_tier_is_the_score(recorded: RunStore, tmp_path: Path) -> None:
    assert scores(recorded, tmp_path)["open"] == {WEAK: pytest.approx(2 * 3 / 7), STRONG: 1.0}
    data = RouterLab(recorded, tmp_path).data_set(SET)
    assert {key: each.how for key, each in data.judged.items()} == {
        ("open", WEAK): "likeness",
        ("open", STRONG): "likeness",
    }


def test_one_tier_alone_has_nothing_to_be_like(store: RunStore, tmp_path: Path) -> None:
    store.router.keep_set(SET, "Own", TASKS)
    store.router.keep_answer(SET, "open", WEAK, "w", answer(None), {})
    assert scores(store, tmp_path)["open"] == {WEAK: None}


def test_a_mark_counts_and_the_checkers_score_can_be_returned_to(recorded: RunStore, tmp_path: Path) -> None:
    lab = RouterLab(recorded, tmp_path)
    before = lab.data_set(SET)
    recorded.router.mark(SET, "sum", WEAK, "w", "five", True)
    data = lab.data_set(SET)
    assert scores(recorded, tmp_path)["sum"] == {WEAK: 1.0, STRONG: 1.0}
    assert data.judged["sum", WEAK].automatic == 0.0
    assert data.sha256 != before.sha256
    recorded.router.mark(SET, "sum", WEAK, "w", "five", False)
    assert scores(recorded, tmp_path)["sum"][WEAK] == 0.0
    recorded.router.mark(SET, "sum", WEAK, "w", "five", None)
    assert lab.data_set(SET) is before


def test_a_mark_holds_for_the_text_that_was_read(recorded: RunStore, tmp_path: Path) -> None:
    recorded.router.mark(SET, "sum", WEAK, "w", "five", True)
    recorded.router.keep_answer(SET, "sum", WEAK, "w", answer(0.0, text="six"), {})
    assert scores(recorded, tmp_path)["sum"][WEAK] == 0.0


def test_a_mark_on_an_answer_without_a_checker_counts_over_likeness(recorded: RunStore, tmp_path: Path) -> None:
    recorded.router.mark(SET, "open", WEAK, "w", "I am well", True)
    assert scores(recorded, tmp_path)["open"][WEAK] == 1.0


def test_what_others_mark_changes_nobodys_figures(recorded: RunStore, tmp_path: Path) -> None:
    ann, bob = recorded.seen_by(ANN), recorded.seen_by(BOB)
    ann.router.mark(SET, "sum", WEAK, "w", "five", True)
    lab = RouterLab(recorded, tmp_path)
    assert [p.answers[WEAK].score for p in lab.seen_by(ann).data_set(SET).prompts if p.prompt_id == "sum"] == [1.0]
    assert [p.answers[WEAK].score for p in lab.seen_by(bob).data_set(SET).prompts if p.prompt_id == "sum"] == [0.0]
    bob.router.mark(SET, "sum", WEAK, "w", "five", None)
    assert len(ann.router.marks(SET)) == 1


def test_an_answer_that_could_not_be_judged_stays_without_a_score(store: RunStore, tmp_path: Path) -> None:
    store.router.keep_set(SET, "Own", TASKS)
    for tier in (WEAK, STRONG):
        store.router.keep_answer(SET, "sum", tier, "w", answer(None), {})
    assert scores(store, tmp_path)["sum"] == {WEAK: None, STRONG: None}
