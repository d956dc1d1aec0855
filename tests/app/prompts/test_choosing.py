"""Some of many prompts: what each way to choose promises, and what an experiment's must never change."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.prompts.choosing import shares_of, some_of_each, stratified
from engine import MIXED_FILE, Task, load_tasks

CATEGORIES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=120)
COUNTS = st.integers(1, 130)


def tasks(categories: Sequence[str]) -> list[Task]:
    return [
        Task(id=f"t{n}", category=category, prompt=f"Prompt {n}?", max_tokens=8)
        for n, category in enumerate(categories)
    ]


@given(CATEGORIES, COUNTS, st.integers(0, 99))
def test_a_draw_has_of_each_category_its_share(categories: list[str], count: int, seed: int) -> None:
    whole = tasks(categories)
    chosen = stratified(whole, count, seed)
    assert len(chosen) == min(count, len(whole))
    assert [task for task in whole if task in chosen] == list(chosen)
    assert chosen == stratified(whole, count, seed)
    all_of, some_of = Counter(categories), Counter(task.category for task in chosen)
    if count >= len(all_of):
        assert some_of.keys() == all_of.keys()
    if len(chosen) < len(whole):
        for category, size in all_of.items():
            exact = count * size / len(whole)
            assert some_of[category] <= max(1, exact + 1)


@pytest.mark.parametrize(
    ("count", "seed", "sha256"),
    [
        (50, 0, "cac9c39e2eadfa7f"),
        (200, 0, "fbf3d0571a16ec33"),
        (200, 7, "7d1fc3b4bb3f15a5"),
        (32, 1, "d8be532e575005ed"),
    ],
)
def test_a_draw_never_changes_for_kept_experiments_are_found_by_it(count: int, seed: int, sha256: str) -> None:
    ids = "\n".join(task.id for task in stratified(load_tasks(MIXED_FILE), count, seed))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == sha256


@given(CATEGORIES, COUNTS, COUNTS)
def test_a_smaller_part_is_within_the_larger_and_every_category_has_its_share(
    categories: list[str], one: int, other: int
) -> None:
    kind_of = {task.id: task.category for task in tasks(categories)}
    small, large = (shares_of(kind_of, count) for count in sorted((one, other)))
    assert small <= large
    assert len(large) == min(len(kind_of), max(one, other))
    assert shares_of(kind_of, None) == kind_of.keys()
    of, chosen = Counter(categories), Counter(kind_of[id] for id in large)
    for category, count in of.items():
        assert abs(chosen[category] - count * len(large) / len(kind_of)) <= 1 + len(of) / 2


@given(CATEGORIES, st.integers(0, 60), st.randoms())
def test_a_part_hangs_on_the_ids_alone(categories: list[str], count: int, chance: random.Random) -> None:
    kind_of = {task.id: task.category for task in tasks(categories)}
    turned = list(kind_of.items())
    chance.shuffle(turned)
    assert shares_of(dict(turned), count) == shares_of(kind_of, count)


@given(CATEGORIES, st.integers(1, 40), st.integers(1, 40))
def test_equally_many_of_each_are_its_first_ones_in_order(categories: list[str], one: int, other: int) -> None:
    whole = tasks(categories)
    small, large = (some_of_each(whole, most) for most in sorted((one, other)))
    assert set(small) <= set(large)
    assert [task for task in whole if task in large] == list(large)
    for category, count in Counter(categories).items():
        of_it = [task for task in whole if task.category == category]
        assert [task for task in large if task.category == category] == of_it[: max(one, other)]
        assert len(of_it) == count
