"""What the Router lab keeps: answers come back, profiles have versions, one of them is active."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from app.store import GoneError, RouterStore, RunStore, StoreError, Viewer, answer_sha256, ladder_key
from app.store.router.schema import RouterProfileRow
from engine.cascade import BoundaryRouter, Evidence, Figure, RouterKind, RouterProfile, TierAnswer, TierIdentity
from engine.errors import RouterProfileError
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


ANN, BOB, GUEST = (Viewer(name, sees_all=name == "guest") for name in ("ann", "bob", "guest"))


def test_a_set_is_renamed_by_whoever_may_see_it_each_for_themselves(store: RunStore) -> None:
    ann, bob = store.seen_by(ANN).router, store.seen_by(BOB).router
    ann.keep_set("s" * 64, "Ann's", TASKS)
    with pytest.raises(GoneError):
        bob.rename_set("s" * 64, "Stolen")
    bob.keep_set("s" * 64, "Bob's", TASKS)
    ann.rename_set("s" * 64, "Better")
    assert ([kept.name for kept in ann.sets()], [kept.name for kept in bob.sets()]) == (["Better"], ["Bob's"])


def test_the_desks_set_is_renamed_for_everybody(router: RouterStore, store: RunStore) -> None:
    store.seen_by(ANN).router.rename_set("s" * 64, "Ours")
    assert [kept.name for kept in store.seen_by(BOB).router.sets()] == ["Ours"]


def test_a_set_goes_with_all_that_was_recorded_and_said_of_it(router: RouterStore) -> None:
    router.keep_set("t" * 64, "Others", TASKS)
    for sha256 in ("s" * 64, "t" * 64):
        router.keep_answer(sha256, "t0", "small@int8", "w", answer(), {})
        router.renew(sha256, "small@int8", "w")
        router.mark(sha256, "t0", "small@int8", "w", "Four.", False)
    router.delete_set("s" * 64)
    assert [kept.name for kept in router.sets()] == ["Others"]
    assert (router.recorded("s" * 64), router.marks("s" * 64)) == ((), ())
    assert (len(router.recorded("t" * 64)), len(router.marks("t" * 64))) == (1, 1)
    with pytest.raises(GoneError):
        router.delete_set("s" * 64)


def test_a_set_of_two_people_is_deleted_for_one_of_them_alone(store: RunStore) -> None:
    ann, bob = store.seen_by(ANN).router, store.seen_by(BOB).router
    for who in (ann, bob):
        who.keep_set("s" * 64, "Theirs", TASKS)
    ann.keep_answer("s" * 64, "t0", "small@int8", "w", answer(), {})
    ann.delete_set("s" * 64)
    assert ann.sets() == ()
    assert [tier.answers for tier in bob.recorded("s" * 64)] == [1]
    bob.delete_set("s" * 64)
    assert store.router.sets() == ()


def test_of_a_shared_recording_everybody_deletes_their_own(router: RouterStore, store: RunStore) -> None:
    ann, bob, guest = (store.seen_by(viewer).router for viewer in (ANN, BOB, GUEST))
    ann.keep_answer("s" * 64, "t0", "small@int8", "w", answer(), {})
    bob.keep_answer("s" * 64, "t1", "small@int8", "w", answer(), {})
    router.keep_answer("s" * 64, "t2", "small@int8", "w", answer(), {})
    (seen,) = ann.recorded("s" * 64)
    assert (seen.own, seen.others, seen.answers) == (1, 1, 3)
    assert ann.delete_recording("s" * 64, "small@int8", "w") == 2
    assert ann.answers("s" * 64, "small@int8", "w").keys() == {"t1"}
    assert guest.delete_recording("s" * 64, "small@int8", "w") == 1


def test_hardware_that_changed_within_a_recording_is_told(router: RouterStore) -> None:
    for n, cpu in enumerate(("Xeon", "Epyc", "Epyc")):
        environment = {"cpu": cpu, "threads": 2, "kernel": "native", "disturbed": "others" if n else None}
        router.keep_answer("s" * 64, f"t{n}", "small@int8", "w", answer(), environment)
    (tier,) = router.recorded("s" * 64)
    assert tier.machines == ("Epyc, 2 threads, native", "Xeon, 2 threads, native")
    assert tier.disturbed == 2
    assert tier.first_at < tier.last_at


def test_a_mark_is_replaced_and_taken_back(router: RouterStore) -> None:
    for right in (True, False):
        router.mark("built-in:mixed", "t0", "small@int8", "", "Four.", right)
    (mark,) = router.marks("built-in:mixed")
    assert (mark.right, mark.answer_sha256, mark.own) == (False, answer_sha256("Four."), True)
    router.mark("built-in:mixed", "t0", "small@int8", "", "Five.", None)
    assert len(router.marks("built-in:mixed")) == 1
    router.mark("built-in:mixed", "t0", "small@int8", "", "Four.", None)
    assert router.marks("built-in:mixed") == ()


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
    assert [router.evidence(kept.id) for kept in router.profiles()] == [None, evidence]


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


def test_profiles_are_listed_without_reading_what_they_are_judged_by(router: RouterStore) -> None:
    kept = router.keep_profile(profile())
    with router._database.write() as session:
        session.get_one(RouterProfileRow, kept).evidence = {"figures": "lost"}
    assert [each.id for each in router.profiles()] == [kept]
    with pytest.raises(RouterProfileError):
        router.evidence(kept)
