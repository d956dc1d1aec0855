"""The guard: tries a smaller tier where that pays, passes it over where it does not, looks again now and then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cascade import Guard, Guards

TIER = "small int4"
PROMPTS = 200
MOST = 1.05
"""Against the large model alone."""


def ask(guard: Guard, stays: Iterable[bool], small_s: float = 0.4, large_s: float = 1.0) -> list[bool]:
    """Which prompts it had the tier try."""
    tried = []
    for stay in stays:
        is_tried = guard.choose()
        if not is_tried:
            guard.observe_passed(large_s)
        elif stay:
            guard.observe_kept(small_s, large_s)
        else:
            guard.observe_lost(small_s, large_s)
        tried.append(is_tried)
    return tried


def cost(stays: Sequence[bool], small_s: float, large_s: float = 1.0, guard: Guard | None = None) -> float:
    """Time with the guard / time of the large model alone."""
    tried = ask(guard or Guard(TIER), stays, small_s, large_s)
    took = [(small_s if t else 0) + (0 if t and stay else large_s) for t, stay in zip(tried, stays, strict=True)]
    return sum(took) / (len(stays) * large_s)


@pytest.mark.parametrize("small_s", [0.02, 0.1, 0.23, 0.4, 0.7, 1.0, 2.0])
@pytest.mark.parametrize(
    "stays",
    [
        lambda n: False,
        lambda n: True,
        lambda n: n % 2 == 0,
        lambda n: n // 10 % 2 == 0,
        lambda n: n // 40 % 2 == 1,
        lambda n: n < 100,
        lambda n: n >= 100,
        lambda n: n % 5 == 0,
    ],
    ids=["all go up", "all stay", "by turns", "blocks of 10", "blocks of 40", "a change", "another", "a fifth stays"],
)
def test_no_stream_of_200_prompts_costs_much_more_than_the_large_model_alone(
    stays: Callable[[int], bool], small_s: float
) -> None:
    assert cost([stays(n) for n in range(PROMPTS)], small_s) <= MOST


@given(st.lists(st.booleans(), min_size=PROMPTS, max_size=PROMPTS), st.floats(0.01, 1.5))
def test_whatever_goes_up_or_stays(stays: list[bool], small_s: float) -> None:
    assert cost(stays, small_s) <= MOST


@given(st.integers(0, PROMPTS), st.integers(1, 60), st.floats(0.05, 1.0), st.integers(0, 400))
def test_nor_do_200_prompts_after_a_life_that_paid(first: int, block: int, small_s: float, before: int) -> None:
    """What was saved before stands against a little more."""
    guard = Guard(TIER)
    ask(guard, [True] * before, small_s)
    assert cost([(n + first) // block % 3 == 0 for n in range(PROMPTS)], small_s, guard=guard) <= MOST + 0.01


@pytest.mark.parametrize("small_s", [0.1, 0.4])
def test_a_cascade_that_pays_is_left_alone(small_s: float) -> None:
    guard = Guard(TIER)
    assert all(ask(guard, [n % 4 != 3 for n in range(400)], small_s))
    state = guard.state
    assert not state.stepped_aside
    assert state.recent_share == pytest.approx(0.75, abs=0.05)
    assert state.needed_share == pytest.approx(small_s / 0.9)
    assert state.recent >= 20


def test_it_steps_aside_says_why_and_tries_again_less_and_less_often() -> None:
    guard = Guard(TIER)
    tried = [n for n, is_tried in enumerate(ask(guard, [False] * 600)) if is_tried]
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps == sorted(gaps)
    assert 1 == gaps[0] < gaps[-1]
    state = guard.state
    assert (state.tier, state.mode, state.stepped_aside, state.probing) == (TIER, "aside", True, False)
    assert state.recent_share == 0
    assert state.recent == len(tried)
    assert state.needed_share == pytest.approx(0.4 / 0.9), "0.4 s are lost, and about 0.5 s would be saved"
    assert state.decisions == 600
    assert state.probe_every == gaps[-1]


def test_the_tiers_of_a_ladder_lose_no_more_together_than_one_alone() -> None:
    alone, *both = [sum(ask(Guard(TIER, share), [False] * 20)) for share in (1.0, 0.5, 0.5)]
    assert 0 < both[0] < alone
    assert sum(both) <= alone + 2, "each may lose what it cannot foresee at first"


def test_the_dearer_a_try_the_rarer_the_probes() -> None:
    tries = [sum(ask(Guard(TIER), [False] * 600, small_s)) for small_s in (0.1, 0.4, 1.0)]
    assert tries == sorted(tries, reverse=True)
    assert tries[-1] < tries[0] / 3


def test_it_comes_back_when_prompts_stay_again() -> None:
    guard = Guard(TIER)
    ask(guard, [False] * 100)
    tried = ask(guard, [True] * 100)
    assert all(tried[-50:])
    assert not guard.state.stepped_aside


def test_it_follows_a_change_of_traffic_however_long_it_paid() -> None:
    guard = Guard(TIER)
    ask(guard, [True] * 5000)
    assert not all(ask(guard, [False] * 25))


def test_a_small_model_that_is_slower_than_the_large_one_can_never_pay() -> None:
    guard = Guard(TIER)
    tried = ask(guard, [True] * 100, small_s=1.5)
    assert sum(tried) <= 10
    assert guard.state.needed_share == 1


def test_a_draft_that_saves_more_than_the_try_took_is_no_loss() -> None:
    guard = Guard(TIER)
    for _ in range(100):
        assert guard.choose()
        guard.observe_lost(-0.1, 1.0)
    assert not guard.state.stepped_aside


def test_a_probe_of_which_nothing_is_heard_is_made_up_for_at_once() -> None:
    guard = Guard(TIER)
    ask(guard, [False] * 100)
    while not guard.choose():
        guard.observe_passed(1.0)
    assert guard.state.probing
    assert guard.choose(), "the first probe was cancelled"
    guard.observe_lost(0.4, 1.0)
    assert not guard.choose()


def test_tries_of_which_nothing_is_heard_teach_nothing() -> None:
    guard = Guard(TIER)
    assert all(guard.choose() for _ in range(100))
    assert guard.state.recent_share is None
    assert guard.state.needed_share is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 3), st.floats(0.05, 20)), max_size=300))
def test_where_it_stands_aside_fewer_stayed_than_must(prompts: list[tuple[bool, float, float]]) -> None:
    guard = Guard(TIER)
    for stays, small_s, large_s in prompts:
        ask(guard, [stays], small_s, large_s)
        state = guard.state
        assert state.recent_share is None or 0 <= state.recent_share <= 1
        assert state.needed_share is None or 0 <= state.needed_share <= 1
        if state.stepped_aside:
            assert state.recent_share is not None
            assert state.needed_share is not None
            assert state.recent_share < state.needed_share or state.needed_share == 1


def test_each_configuration_and_tier_has_its_own_guard_and_few_are_kept() -> None:
    guards = Guards()
    first = guards.of("a", TIER, 1.0)
    assert guards.of("a", TIER, 1.0) is first
    assert guards.of("b", TIER, 1.0) is not first
    assert guards.of("a", "middle int4", 1.0) is not first
    for n in range(100):
        guards.of(n, TIER, 1.0)
        guards.of("b", TIER, 1.0)
    assert guards.of("a", TIER, 1.0) is not first, "unused for long"
    assert guards.of("b", TIER, 1.0).tier == TIER
