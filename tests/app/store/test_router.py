"""What the Router lab keeps: answers come back, profiles have versions, one of them is active."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from app.store import RouterStore, RunStore, StoreError, ladder_key
from engine.cascade import BoundaryRouter, Evidence, Figure, RouterKind, RouterProfile, TierAnswer, TierIdentity
from engine.evaluation.tasks import Task
from engine.types import Precision
from tests.support.cascade import answer

TASKS = tuple(
    Task(id=f"t{n}", category="Sums", prompt=f"What is {n} + {n}? ☃", checker="number", expected=2 * n, max_tokens=8)
    for n in range(3)
)
LADDER = (
    TierIdentity(model="small", precision=Precision.INT8, weights_sha256="a" * 64),
    TierIdentity(model="large", precision=Precision.INT4, weights_sha256="b" * 64),
)


@pytest.fixture
def router(store: RunStore) -> RouterStore:
    store.router.keep_set("s" * 64, "Sums", TASKS)
    return store.router


def profile(name: str = "Careful", threshold: float = 0.4, ladder: tuple[TierIdentity, ...] = LADDER) -> RouterProfile:
    return RouterProfile(
        name=name,
        made_on=date(2026, 3, 14),
        kind=RouterKind.ESCALATE,
        ladder=ladder,
        boundaries=(BoundaryRouter(threshold=threshold),),
        data_sha256="d" * 64,
        prompts=100,
        figures={"share": 0.4, "pgr": None},
    )


def test_a_set_comes_back_whole_and_keeps_its_first_name(router: RouterStore) -> None:
    router.keep_set("s" * 64, "Another name", TASKS[:1])
    (kept,) = router.sets()
    assert (kept.sha256, kept.name) == ("s" * 64, "Sums")
    assert router.tasks("s" * 64) == TASKS
    assert router.tasks("x" * 64) == ()


@pytest.mark.parametrize(
    "kept",
    [
        answer(text="Four ☃, NUL \x00, lone \ud800."),
        answer(score=None, logprobs=(), ttft_s=None),
        replace(answer(), margins=(), repetition=None),
    ],
)
def test_an_answer_comes_back_as_it_was(router: RouterStore, kept: TierAnswer) -> None:
    router.keep_answer("s" * 64, "t0", "small@int8", "w", kept, {"cpu": "x"})
    assert router.answers("s" * 64, "small@int8", "w") == {"t0": kept}


def test_answers_under_other_weights_are_apart_and_none_is_lost(router: RouterStore) -> None:
    for weights, score in (("old", 0.0), ("new", 1.0)):
        for task in TASKS[: 2 if weights == "old" else 3]:
            router.keep_answer("s" * 64, task.id, "small@int8", weights, answer(score), {"cpu": weights})
    assert [(tier.weights_sha256, tier.answers) for tier in router.recorded("s" * 64)] == [("new", 3), ("old", 2)]
    assert router.recorded("s" * 64)[0].environment == {"cpu": "new"}
    assert {kept.score for kept in router.answers("s" * 64, "small@int8", "old").values()} == {0.0}
    assert router.recorded("x" * 64) == ()


def test_an_answer_needs_its_set(router: RouterStore) -> None:
    with pytest.raises(StoreError):
        router.keep_answer("x" * 64, "t0", "small@int8", "w", answer(), {})


def test_a_profile_saved_again_is_a_new_version(router: RouterStore) -> None:
    router.keep_profile(profile(threshold=0.4))
    router.keep_profile(profile(threshold=0.6))
    router.keep_profile(profile("Bold"))
    assert [(kept.profile.name, kept.version) for kept in router.profiles()] == [
        ("Bold", 1),
        ("Careful", 2),
        ("Careful", 1),
    ]
    assert router.profiles()[1].profile == profile(threshold=0.6)
    assert not any(kept.active for kept in router.profiles())
    assert router.active_profile(LADDER) is None


def test_what_a_profile_is_judged_by_is_kept_beside_it(router: RouterStore) -> None:
    evidence = Evidence(
        prompts_sha256=("a" * 64,),
        held_out=12,
        figures={"quality_kept": Figure(value=0.97, low=0.9, high=1.02)},
        unit="s",
        derived_from="",
        environment={"cpu": "some"},
    )
    router.keep_profile(profile(), evidence)
    router.keep_profile(profile())
    assert [kept.evidence for kept in router.profiles()] == [None, evidence]


def test_one_profile_is_active_on_a_ladder_and_can_be_taken_back(router: RouterStore) -> None:
    first, second = router.keep_profile(profile(threshold=0.4)), router.keep_profile(profile(threshold=0.6))
    other = (LADDER[0], replace(LADDER[1], precision=Precision.INT8))
    elsewhere = router.keep_profile(profile(ladder=other))
    for chosen in (first, elsewhere, second):
        router.activate(chosen)

    def active() -> str | None:
        kept = router.active_profile(LADDER)
        return kept.id if kept else None

    assert active() == second
    assert {kept.id for kept in router.profiles() if kept.active} == {second, elsewhere}
    router.revert(ladder_key(LADDER))
    assert active() == first
    router.activate(second)
    router.activate(first)
    assert active() == first
    router.revert(ladder_key(LADDER))
    assert active() == second
    router.revert(ladder_key(LADDER))
    assert active() is None
    router.revert(ladder_key(LADDER))
    kept = router.active_profile(other)
    assert kept is not None
    assert kept.id == elsewhere
