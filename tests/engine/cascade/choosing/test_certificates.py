"""Certificates: a promise is made wrongly no more often than it says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from engine.cascade.choosing.certificates import GRID, certified, certified_thresholds, gains, p_values, prompts_needed
from engine.cascade.choosing.selection import choose, select
from engine.cascade.reporting.boundary import BoundaryData
from engine.cascade.reporting.intervals import binomial_p_value
from engine.cascade.routing.promise import KeepQuality, RiskAtMost
from engine.cascade.routing.scores import escalates
from engine.types import NEVER
from tests.support.cascade import boundary, simulated


def test_without_gains_the_test_is_the_exact_binomial_one() -> None:
    # 100 that the large model gets right, of which the small one misses 2 of the surest 60
    strong, weak = np.append(np.ones(100), np.zeros(40)), np.append(np.ones(100), np.zeros(40))
    score = np.linspace(0, 1, 140)
    weak[[10, 50]] = 0.0
    data = boundary(weak, strong, score)
    p = p_values(score, *gains(data, KeepQuality(0.95)))
    for kept, missed in ((140, 2), (40, 1), (5, 0)):
        # points are from NEVER down: so many are up
        exact = float(binomial_p_value(np.array(missed), 100, 0.05))
        assert p[140 - kept] == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 2000) + 1e-9)


def certified_wrongly(rng: np.random.Generator, prompts: int, miss: float, gain: float, share: float) -> bool:
    """Whether a threshold is certified that keeps a little less than was asked for."""
    strong = (rng.random(prompts) < 0.7).astype(float)
    weak = np.where(rng.random(prompts) < np.where(strong > 0, miss, gain), 1 - strong, strong)
    # one score for all: the only threshold beside all up keeps everybody
    data = boundary(weak, strong, np.full(prompts, 0.5))
    return bool(certified(data, KeepQuality(share))[0])


@pytest.mark.parametrize(
    ("prompts", "miss", "gain"),
    # each loses exactly 5 % of what the large model gets right: the edge, where it is hardest
    [(60, 0.05, 0.0), (100, 0.05, 0.0), (100, 0.10, 0.35 / 3), (300, 0.05, 0.0), (300, 0.2, 1.05 / 3)],
)
def test_a_promise_is_made_wrongly_no_more_often_than_it_says(prompts: int, miss: float, gain: float) -> None:
    rng = np.random.default_rng(prompts)
    wrong = sum(certified_wrongly(rng, prompts, miss, gain, 0.95) for _ in range(300))
    # 300 draws at 10 %: more than 47 would happen once in a thousand
    assert wrong <= 47


def test_a_promise_is_made_where_there_is_enough_to_show() -> None:
    rng = np.random.default_rng(5)
    assert sum(certified_wrongly(rng, 300, 0.01, 0.0, 0.95) for _ in range(100)) >= 90


def test_everything_up_keeps_all_quality_and_needs_no_test() -> None:
    data = boundary(np.zeros(5), np.ones(5), np.linspace(0, 1, 5))
    assert certified(data, KeepQuality(0.95)).tolist() == [False] * 5 + [True]


def test_how_many_prompts_are_missing_without_a_single_miss() -> None:
    # 0.95^45 is the first power below 10 %
    data = boundary(np.ones(2000), np.ones(2000), np.full(2000, 0.5))
    needed = prompts_needed(data.router_score, *gains(data, KeepQuality(0.95)), 0.1)
    assert needed[0] == pytest.approx(45, abs=3)
    lost = boundary(np.zeros(20), np.ones(20), np.full(20, 0.5))
    assert prompts_needed(lost.router_score, *gains(lost, KeepQuality(0.95)), 0.1)[0] == math.inf


def drawn(prompts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores 0.1, 0.3, … 0.9 and labels: R(t) is 0, 2, 5, 11, 20 and 32 % past each of them."""
    level = rng.integers(0, 5, prompts)
    needed = rng.random(prompts) < np.array([0.10, 0.15, 0.30, 0.45, 0.60])[level]
    return 0.1 + 0.2 * level, needed


def true_risk(threshold: float) -> float:
    below = np.array([0.1, 0.3, 0.5, 0.7, 0.9]) < threshold
    return float((np.array([0.10, 0.15, 0.30, 0.45, 0.60]) * below).sum() / 5)


def test_a_certificate_is_wrong_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(7)
    # the threshold past 0.5 has a true risk of 11 %, just above the target: the hardest case
    target, wrong, useful, plug_in_wrong = RiskAtMost(0.10, 0.2), 0, 0, 0
    assert true_risk(0.6) == pytest.approx(0.11)
    for _ in range(400):
        scores, needed = drawn(100, rng)
        certified = certified_thresholds(scores, needed, target)
        wrong += true_risk(certified[-1]) > target.alpha
        useful += certified[-1] > 0.3
        plug_in_wrong += ((scores < 0.6) & needed).mean() <= target.alpha
    # 400 draws at 20 %: 104 or more would happen once in 460
    assert wrong <= 103
    # the test has power: not certifying at all would pass the line above
    assert wrong >= 20
    assert useful >= 300
    # and the simulation would catch a threshold chosen by the observed risk alone
    assert plug_in_wrong > 150


def test_the_certificate_is_the_last_before_the_first_that_stands() -> None:
    rng = np.random.default_rng(0)
    scores, needed = drawn(2000, rng)
    target = RiskAtMost(0.08, 0.05)
    certified = certified_thresholds(scores, needed, target)
    assert 0.3 < certified[-1] <= 0.5
    assert certified[0] == 0
    # unknown scores go up and so cannot be missed
    unknown = np.where(needed, math.nan, scores)
    assert certified_thresholds(unknown, needed, target)[-1] == NEVER


def test_what_is_certified_is_what_the_p_values_of_the_thresholds_say() -> None:
    rng = np.random.default_rng(3)
    # scores that lie on the grid itself: one that equals the threshold goes up
    scores = np.where(rng.random(300) < 0.1, math.nan, rng.choice(GRID[:-1:100], 300))
    needed = rng.random(300) < 0.2
    target = RiskAtMost(0.1, 0.05)
    rejected = []
    for threshold in GRID:
        losses = int((~escalates(scores, threshold) & needed).sum())
        if binomial_p_value(np.array(losses), 300, 0.1) > 0.05:
            break
        rejected.append(threshold)
    assert certified_thresholds(scores, needed, target).tolist() == rejected
    assert rejected[-1] in GRID[:-1:100]


def test_a_certified_risk_is_reported_with_its_bound() -> None:
    selection = select(simulated(4000), RiskAtMost(0.05, 0.1))
    assert (selection.promise.shown, selection.promise.more_prompts, selection.choice.reason) == (True, None, "")
    assert selection.choice.naive > selection.threshold
    assert selection.test.missed.low <= 0.05
    assert selection.test.missed_of_kept is not None
    assert selection.test.missed_of_kept.value > selection.test.missed.value
    assert selection.test.share.value < 1


def test_too_few_prompts_certify_nothing_and_how_many_would_is_said() -> None:
    selection = select(simulated(40), RiskAtMost(0.05, 0.05))
    assert not selection.promise.shown
    assert selection.threshold == selection.choice.naive
    assert "even without a single miss" in selection.choice.reason
    # 59 in the calibration half, of which there are 20
    assert selection.promise.more_prompts == 2 * (59 - 20)


def test_a_certificate_of_nothing_is_not_called_one() -> None:
    # one score for all: keeping anybody keeps everybody
    def data(missed: int) -> BoundaryData:
        needed = np.arange(100) < missed
        return boundary(1.0 - needed, np.ones(100), np.full(100, 0.5))

    choice = choose(data(4), RiskAtMost(0.05, 0.05))
    assert choice.safe is None
    assert "misses 4.0% of 100 prompts, too few to be sure" in choice.reason
    assert choice.more_prompts is not None
    assert 500 < choice.more_prompts < 3000
    hopeless = choose(data(30), RiskAtMost(0.05, 0.05))
    assert (hopeless.safe, hopeless.saves, hopeless.more_prompts) == (None, False, None)
    unknown = choose(replace(data(4), router_score=np.full(100, math.nan)), RiskAtMost(0.05, 0.05))
    assert (unknown.safe, unknown.saves) == (None, False)


def test_a_certified_risk_that_saves_nothing_is_no_use() -> None:
    # every prompt pays for the try: keeping the surest few costs more than the large model alone
    score = np.linspace(0, 1, 400)
    data = boundary((score < 0.2).astype(float), np.ones(400), score, tried=1.0)
    choice = choose(data, RiskAtMost(0.05, 0.05))
    assert certified_thresholds(score, data.weak_score < 1, RiskAtMost(0.05, 0.05))[-1] > 0.15
    assert choice.safe is None
