"""The controller: drafts where it pays, stops where it does not, tries again now and then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.speculation import Controller, StepTimes, expected_tokens
from engine.speculation.controller import Acceptance, Offer

CHEAP = {rows: 0.010 + 0.0015 * (rows - 1) for rows in (1, 2, 3, 5, 9, 17, 33)}
DEAR = {rows: 0.010 * rows for rows in (1, 2, 3, 5, 9, 17, 33)}


def offer(most: int = 8, prior: float = 0.5, cost: float = 0.0, drafter: str = "ngram") -> Offer:
    return Offer(drafter, "any", prior, most, cost)


@given(st.floats(0, 1), st.integers(0, 32))
def test_expected_tokens_is_the_sum_of_powers(acceptance: float, gamma: int) -> None:
    assert expected_tokens(acceptance, gamma) == pytest.approx(sum(acceptance**i for i in range(gamma + 1)), rel=1e-6)


def test_it_drafts_more_when_more_is_accepted() -> None:
    gammas = []
    for accepted in (1, 4, 8):
        controller = Controller(StepTimes(CHEAP))
        for _ in range(30):
            controller.observe(offer(), 8, accepted)
        plan = controller.choose([offer()], 0)
        assert plan is not None
        gammas.append(plan[1])
    assert gammas == sorted(gammas)
    assert gammas[-1] == 8


def test_it_pauses_below_break_even_says_so_and_tries_again_less_and_less_often() -> None:
    controller, tried = Controller(StepTimes(CHEAP)), []
    for step in range(600):
        plan = controller.choose([offer()], step)
        if plan:
            tried.append(step)
            controller.observe(plan[0], plan[1], 0)
    assert 4 <= len(tried) < 20, "a drafter that is always wrong is given up, not for good"
    gaps = [later - earlier for earlier, later in zip(tried[-4:], tried[-3:], strict=False)]
    assert gaps == sorted(gaps)
    states = [note.state for note in controller.notes]
    assert states[:2] == ["paused", "probing"]
    assert all(note.speedup < 1.05 for note in controller.notes)


def test_it_comes_back_when_a_probe_succeeds() -> None:
    controller = Controller(StepTimes(CHEAP))
    for _ in range(20):
        controller.observe(offer(), 4, 0)
    accepted_again = 0
    for step in range(400):
        plan = controller.choose([offer()], step)
        if plan:
            controller.observe(plan[0], plan[1], plan[1])
            accepted_again += plan[1] > 2
    assert accepted_again > 10
    assert controller.notes[-1].state == "drafting"


def test_dear_verification_leaves_no_room_for_drafts() -> None:
    controller = Controller(StepTimes(DEAR))
    for _ in range(5):
        controller.observe(offer(), 4, 3)
    assert controller.choose([offer()], 0) is None


def test_the_faster_of_two_drafters_is_taken() -> None:
    controller = Controller(StepTimes(CHEAP))
    free, dear = offer(prior=0.6), offer(prior=0.9, cost=0.008, drafter="copy")
    plan = controller.choose([dear, free], 0)
    assert plan is not None
    assert plan[0].drafter == "ngram"


def test_a_fixed_gamma_is_kept_as_far_as_there_are_tokens() -> None:
    always = Controller(StepTimes(DEAR), gamma=5)
    for _ in range(20):
        always.observe(offer(), 5, 0)
    assert always.choose([offer(most=8)], 0) == (offer(most=8), 5)
    assert always.choose([offer(most=3)], 0) == (offer(most=3), 3)
    assert Controller(StepTimes(CHEAP), gamma=0).choose([offer()], 0) is None


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), max_size=50))
def test_an_estimate_stays_a_share(rounds: list[tuple[int, int]]) -> None:
    estimate = Acceptance(0.5)
    for drafted, accepted in rounds:
        estimate.observe(drafted, min(drafted, accepted))
        assert 0 <= estimate.rate <= 1


def test_step_times_lie_between_what_was_measured_and_follow_a_growing_text() -> None:
    times = StepTimes(CHEAP)
    assert times.seconds(4) == pytest.approx((CHEAP[3] + CHEAP[5]) / 2)
    assert times.seconds(40) == pytest.approx(0.010 + 0.0015 * 39)
    before = times.seconds(9)
    for _ in range(40):
        times.observe(1, 0.02)
    assert times.seconds(1) == pytest.approx(0.02, rel=0.05)
    assert times.seconds(9) > before
    assert times.measured == CHEAP
    disturbed = StepTimes(CHEAP)
    disturbed.observe(1, 10.0)
    assert disturbed.seconds(1) < 0.012
