"""A threshold picked for a target, on prompts that do not report."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from engine.cascade.boundary import BoundaryData
from engine.cascade.figures import ThresholdFigures
from engine.cascade.intervals import Resampling, binomial_p_value
from engine.cascade.scores import escalates
from engine.cascade.selection import (
    GRID,
    KeepQuality,
    RiskAtMost,
    SpendAtMost,
    certified_thresholds,
    choose,
    select,
    stratified_parts,
)
from engine.errors import InvalidRequestError
from engine.types import NEVER
from tests.support.cascade import boundary, from_counts, simulated


def test_parts_are_equal_in_all_and_in_each_category_and_know_no_order() -> None:
    ids = tuple(f"p{index}" for index in range(101))
    categories = tuple("abc"[index % 3 if index < 60 else 0] for index in range(101))
    for parts in (2, 3):
        split = stratified_parts(ids, categories, parts, seed=1)
        assert sorted(np.concatenate(split).tolist()) == list(range(101))
        assert max(map(len, split)) - min(map(len, split)) <= 1
        for category in "abc":
            counts = [Counter(categories[i] for i in part)[category] for part in split]
            assert max(counts) - min(counts) <= 1
    first = {ids[i] for i in stratified_parts(ids, categories, seed=1)[0]}
    turned = stratified_parts(ids[::-1], categories[::-1], seed=1)[0]
    assert {ids[::-1][i] for i in turned} == first
    assert {ids[i] for i in stratified_parts(ids, categories, seed=2)[0]} != first
    with pytest.raises(InvalidRequestError, match="Too few"):
        stratified_parts(("a",), ("x",))


def test_quality_is_kept_at_least_cost() -> None:
    data = simulated(3000)
    choice = choose(data, KeepQuality(0.95))
    assert choice.met
    needed = 0.95 * data.strong_score.mean()
    chosen = data.up(choice.threshold)
    assert data.quality(chosen).mean() >= needed
    for threshold in np.unique(data.router_score):
        up = data.up(threshold)
        if data.quality(up).mean() >= needed:
            assert data.cost(up).mean() >= data.cost(chosen).mean() - 1e-9


def test_spending_is_held_at_best_quality() -> None:
    data = simulated(3000)
    choice = choose(data, SpendAtMost(0.6))
    budget = 0.6 * data.strong_cost.mean()
    chosen = data.up(choice.threshold)
    assert data.cost(chosen).mean() <= budget
    for threshold in np.unique(data.router_score):
        up = data.up(threshold)
        if data.cost(up).mean() <= budget:
            assert data.quality(up).mean() <= data.quality(chosen).mean() + 1e-9


def test_what_cannot_be_spent_so_little_is_said() -> None:
    choice = choose(simulated(200), SpendAtMost(0.1))
    assert (choice.met, choice.threshold) == (False, NEVER)
    assert "the least is 2" in choice.reason


def test_dearer_than_the_large_model_alone_is_said() -> None:
    # the small model is never right: each prompt pays for both
    data = boundary(np.zeros(50), np.ones(50), np.linspace(0, 1, 50), tried=1.0)
    assert "always use that" in choose(data, KeepQuality(1.0)).reason


def test_one_half_chooses_and_the_other_reports() -> None:
    data = simulated(2000)
    calibration, test = stratified_parts(data.ids, data.categories, seed=5)
    selection = select(data, KeepQuality(0.9), seed=5)
    assert selection.threshold == choose(data.rows(calibration), KeepQuality(0.9)).threshold
    assert selection.test == ThresholdFigures.of(data.rows(test), selection.threshold)
    assert (selection.calibration.prompts, selection.test.prompts) == (1000, 1000)
    # reversed reports choose nothing else
    again = select(data.rows(np.arange(2000)[::-1]), KeepQuality(0.9), seed=5)
    assert again.threshold == selection.threshold


def test_a_target_missed_on_the_test_half_is_not_said_to_hold() -> None:
    data = simulated(600)
    calibration, test = stratified_parts(data.ids, data.categories)
    strong = data.strong_score.copy()
    # what the calibration half saw of the router does not hold on the other half
    router = data.router_score.copy()
    router[test] = 1 - router[test]
    selection = select(replace(data, router_score=router, strong_score=strong), KeepQuality(0.97))
    assert (selection.met, selection.held) == (True, False)
    assert len(calibration) == 300


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
    assert (selection.met, selection.more_prompts, selection.reason) == (True, None, "")
    assert selection.test.missed.low <= 0.05
    assert selection.test.missed_of_kept is not None
    assert selection.test.missed_of_kept.value > selection.test.missed.value
    assert selection.test.share.value < 1


def test_too_few_prompts_certify_nothing_and_how_many_would_is_said() -> None:
    selection = select(simulated(40), RiskAtMost(0.05, 0.05))
    assert not selection.met
    assert selection.threshold == 0.0
    assert selection.test.share.value == 1
    assert "even without a single miss" in selection.reason
    # 59 in the calibration half, of which there are 20
    assert selection.more_prompts == 2 * (59 - 20)


def test_a_certificate_of_nothing_is_not_called_one() -> None:
    # one score for all: keeping anybody keeps everybody
    def data(missed: int) -> BoundaryData:
        needed = np.arange(100) < missed
        return boundary(1.0 - needed, np.ones(100), np.full(100, 0.5))

    choice = choose(data(4), RiskAtMost(0.05, 0.05))
    assert not choice.met
    assert "Only sending every prompt up" in choice.reason
    assert choice.more_prompts is not None
    assert 500 < choice.more_prompts < 3000
    hopeless = choose(data(30), RiskAtMost(0.05, 0.05))
    assert (hopeless.met, hopeless.more_prompts) == (False, None)
    assert "would not help" in hopeless.reason
    unknown = replace(data(4), router_score=np.full(100, math.nan))
    assert "no prompt has a score" in choose(unknown, RiskAtMost(0.05, 0.05)).reason


@pytest.mark.parametrize(
    "target", [lambda: KeepQuality(0.0), lambda: SpendAtMost(-1), lambda: RiskAtMost(0.0), lambda: RiskAtMost(0.1, 1.0)]
)
def test_targets_that_cannot_be_are_refused(target: object) -> None:
    with pytest.raises(InvalidRequestError):
        target()  # type: ignore[operator]


def test_figures_at_a_threshold_by_hand() -> None:
    data = from_counts(both=50, only_weak=10, only_strong=30, neither=10)
    figures = ThresholdFigures.of(data, 0.75)
    assert figures.share.value == pytest.approx(0.3)
    assert figures.quality.value == pytest.approx(0.9)
    assert figures.cost.value == pytest.approx(0.3 * 4 + 0.7 * 1)
    assert figures.quality_kept is not None
    assert figures.quality_kept.value == pytest.approx(0.9 / 0.8)
    assert figures.pgr is not None
    assert figures.pgr.value == pytest.approx(0.3 / 0.2)
    assert figures.missed.value == 0
    everyone_small = ThresholdFigures.of(data, NEVER)
    assert everyone_small.missed.value == pytest.approx(0.3)
    assert everyone_small.missed.low < 0.3 < everyone_small.missed.high
    for figure in (figures.quality, figures.share, figures.cost, figures.quality_kept, figures.pgr, figures.ttft_s):
        assert figure.low <= figure.value <= figure.high


def test_the_same_draws_serve_every_threshold() -> None:
    data = simulated(500)
    assert ThresholdFigures.of(data, 0.4, Resampling.of(500)) == ThresholdFigures.of(data, 0.4)


def test_a_gap_that_may_be_none_gives_no_pgr() -> None:
    data = from_counts(both=4, only_weak=2, only_strong=3, neither=1)
    figures = ThresholdFigures.of(data, 0.75)
    assert figures.pgr is None
    assert "too close" in figures.pgr_reason
    same = ThresholdFigures.of(from_counts(4, 2, 2, 1), 0.75)
    assert same.pgr is None
    assert "score the same" in same.pgr_reason
