"""A threshold picked for a target, on prompts that do not report."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.cascade.choosing.selection import choose, half_rows, halves, rounded, select, stratified_parts
from engine.cascade.reporting.figures import ThresholdFigures
from engine.cascade.routing.promise import KeepQuality, RiskAtMost, SpendAtMost, Target
from engine.errors import InvalidRequestError
from engine.types import NEVER
from tests.support.cascade import boundary, from_counts, simulated


def test_parts_are_equal_in_all_and_in_each_category_and_know_no_order() -> None:
    ids = tuple(f"p{index}" for index in range(101))
    categories = tuple("abc"[index % 3 if index < 60 else 0] for index in range(101))
    for parts in (2, 3):
        split = stratified_parts(ids, categories, ids, parts, seed=1)
        assert sorted(np.concatenate(split).tolist()) == list(range(101))
        assert max(map(len, split)) - min(map(len, split)) <= 1
        for category in "abc":
            counts = [Counter(categories[i] for i in part)[category] for part in split]
            assert max(counts) - min(counts) <= 1
    first = {ids[i] for i in stratified_parts(ids, categories, ids, seed=1)[0]}
    turned = stratified_parts(ids[::-1], categories[::-1], ids[::-1], seed=1)[0]
    assert {ids[::-1][i] for i in turned} == first
    assert {ids[i] for i in stratified_parts(ids, categories, ids, seed=2)[0]} != first
    with pytest.raises(InvalidRequestError, match="Too few"):
        stratified_parts(("a",), ("x",), ("A?",))
    with pytest.raises(InvalidRequestError, match="Too few"):
        stratified_parts(("a", "b"), ("x", "x"), ("A?", "A?"))


SOME_PROMPTS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), min_size=3, max_size=40)
"""Texts and categories."""


@given(SOME_PROMPTS, st.sampled_from([2, 3]), st.integers(0, 9))
def test_prompts_of_one_text_stay_in_one_part_and_move_no_other(
    prompts: list[tuple[str, str]], parts: int, seed: int
) -> None:
    texts, categories = zip(*prompts, strict=True)
    ids = tuple(f"p{index}" for index in range(len(prompts)))
    assume(len(set(texts)) >= parts)
    found = stratified_parts(ids, categories, texts, parts, seed)
    assert sorted(np.concatenate(found).tolist()) == list(range(len(ids)))
    assert 0 < len(found[0]) < len(ids)
    for text in texts:
        assert sum(text in {texts[row] for row in part} for part in found) == 1
    for part, as_if_told_apart in zip(found, stratified_parts(ids, categories, ids, parts, seed), strict=True):
        alone = {row for row in range(len(ids)) if texts.count(texts[row]) == 1}
        assert alone & {*part.tolist()} == alone & {*as_if_told_apart.tolist()}
    turned = stratified_parts(ids[::-1], categories[::-1], texts[::-1], parts, seed)
    assert [{len(ids) - 1 - row for row in part.tolist()} for part in turned] == [{*part.tolist()} for part in found]


def test_many_texts_that_are_there_twice_are_split_evenly_in_each_category() -> None:
    ids = tuple(f"p{index}" for index in range(400))
    categories = tuple("ab"[index // 2 % 2] for index in range(400))
    split = stratified_parts(ids, categories, tuple(f"{index // 2}?" for index in range(400)))
    for category in "ab":
        assert [Counter(categories[row] for row in part)[category] for part in split] == [100, 100]


def test_one_text_alone_chooses_and_reports_however_often_it_is_there() -> None:
    data = boundary(np.zeros(4), np.ones(4), np.linspace(0, 1, 4))
    calibration, test = halves(replace(data, texts=("Which?",) * 4))
    assert calibration.ids == test.ids == data.ids


def test_quality_is_kept_at_least_cost() -> None:
    data = simulated(3000)
    choice = choose(data, KeepQuality(0.95))
    assert choice.met
    needed = 0.95 * data.strong_score.mean()
    chosen = data.up(choice.naive)
    assert data.quality(chosen).mean() >= needed
    for threshold in np.unique(data.router_score):
        up = data.up(threshold)
        if data.quality(up).mean() >= needed:
            assert data.cost(up).mean() >= data.cost(chosen).mean() - 1e-9


def test_what_is_certified_costs_more_and_keeps_more_than_what_only_looks_so() -> None:
    data = simulated(3000)
    choice = choose(data, KeepQuality(0.95))
    assert choice.safe is not None
    assert choice.threshold == choice.safe < choice.naive
    safe, naive = (ThresholdFigures.of(data, threshold) for threshold in (choice.safe, choice.naive))
    assert safe.cost.value > naive.cost.value
    assert safe.quality.value > naive.quality.value >= 0.95 * safe.strong.value
    surer = choose(data, KeepQuality(0.95, confidence=0.99))
    assert surer.safe is not None
    assert surer.safe < choice.safe


def test_spending_is_held_at_best_quality() -> None:
    data = simulated(3000)
    choice = choose(data, SpendAtMost(0.6))
    budget = 0.6 * data.strong_cost.mean()
    chosen = data.up(choice.naive)
    assert data.cost(chosen).mean() <= budget
    for threshold in np.unique(data.router_score):
        up = data.up(threshold)
        if data.cost(up).mean() <= budget:
            assert data.quality(up).mean() <= data.quality(chosen).mean() + 1e-9
    # to be sure of it, fewer go up
    assert choice.safe is not None
    assert choice.safe > choice.naive


def test_what_cannot_be_spent_so_little_is_said() -> None:
    choice = choose(simulated(200), SpendAtMost(0.1))
    assert (choice.met, choice.naive, choice.safe) == (False, NEVER, None)
    assert "the least is 2" in choice.reason


def test_a_cascade_that_is_dearer_than_the_large_model_alone_saves_nothing() -> None:
    # the small model is never right: each prompt pays for both
    data = boundary(np.zeros(500), np.ones(500), np.linspace(0, 1, 500), tried=1.0)
    choice = choose(data, KeepQuality(1.0))
    assert (choice.saves, choice.safe, choice.more_prompts) == (False, None, None)


def test_one_half_chooses_and_the_other_reports() -> None:
    data = simulated(2000)
    calibration, test = half_rows(data, seed=5)
    selection = select(data, KeepQuality(0.9), seed=5)
    assert selection.choice == choose(data.rows(calibration), KeepQuality(0.9))
    assert selection.test == ThresholdFigures.of(data.rows(test), selection.threshold)
    assert selection.naive == ThresholdFigures.of(data.rows(test), selection.choice.naive)
    assert (selection.calibration.prompts, selection.test.prompts, selection.prompts) == (1000, 1000, 2000)
    assert (selection.promise.kind, selection.promise.share, selection.promise.shown) == ("quality", 0.9, True)
    # reversed reports choose nothing else
    again = select(data.rows(np.arange(2000)[::-1]), KeepQuality(0.9), seed=5)
    assert again.threshold == selection.threshold


def test_too_few_prompts_leave_a_threshold_to_use_and_say_how_many_are_missing() -> None:
    selection = select(simulated(120), KeepQuality(0.95))
    assert not selection.promise.shown
    assert selection.threshold == selection.choice.naive
    more = selection.promise.more_prompts
    assert more is not None
    assert 100 <= more <= 4_000
    assert more == rounded(2 * (selection.choice.more_prompts or 0))
    # the estimate is of the right size: so many prompts of this kind mostly show it
    shown = [select(simulated(120 + more, seed), KeepQuality(0.95)).promise.shown for seed in range(20, 28)]
    assert sum(shown) >= 4


def test_one_prompt_chooses_and_reports_and_promises_nothing() -> None:
    selection = select(from_counts(1, 0, 0, 0), KeepQuality(0.95))
    assert selection.calibration.prompts == selection.test.prompts == selection.prompts == 1
    assert not selection.promise.shown
    assert selection.test.quality_kept is not None
    assert selection.test.quality_kept.low < 1 < selection.test.quality_kept.high


@pytest.mark.parametrize("share", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("right", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
@pytest.mark.parametrize("score", [math.nan, 0.5])
def test_samples_without_any_variation_are_chosen_on_too(
    share: float, right: tuple[float, float], score: float
) -> None:
    weak, strong = (np.full(30, each) for each in right)
    data = boundary(weak, strong, np.full(30, score), tried=1.0)
    for target in (KeepQuality(share), SpendAtMost(share), RiskAtMost(0.1)):
        selection = select(data, target)
        if target == KeepQuality(share) and right == (0.0, 1.0):
            assert not selection.choice.saves


def test_estimates_are_written_with_two_digits() -> None:
    assert [rounded(n) for n in (1, 62, 101, 1204, 12_000)] == [1, 62, 110, 1300, 12_000]


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.5, 1.0]),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.sampled_from([0.0, 0.2, 0.5, 0.9, math.nan]),
        st.floats(0.1, 5),
        st.floats(0.1, 5),
    ),
    min_size=1,
    max_size=25,
)
TARGETS = st.one_of(
    st.builds(KeepQuality, st.floats(0.1, 1), st.floats(0.7, 0.95)),
    st.builds(SpendAtMost, st.floats(0.1, 2), st.floats(0.7, 0.95)),
    st.builds(RiskAtMost, st.floats(0.05, 0.9), st.floats(0.05, 0.3)),
)


@settings(deadline=None, max_examples=60)
@given(SAMPLES, TARGETS, st.sampled_from([0.0, 1.0]))
def test_whatever_the_prompts_there_is_a_threshold_to_use_and_no_promise_without_a_certificate(
    rows: list[tuple[float, ...]], target: Target, tried: float
) -> None:
    weak, strong, router, small, large = map(np.array, zip(*rows, strict=True))
    data = replace(boundary(weak, strong, router, tried=tried), weak_cost=small, strong_cost=large)
    selection = select(data, target)
    choice = selection.choice
    assert selection.promise.shown is (choice.safe is not None)
    assert selection.threshold == (choice.naive if choice.safe is None else choice.safe)
    assert 0 <= selection.threshold <= NEVER
    assert not (selection.promise.shown and selection.promise.more_prompts)
    if choice.safe is not None:
        # what is promised was met on the prompts that chose, with room to spare
        figures = selection.calibration
        match target:
            case KeepQuality(share):
                assert figures.quality.value >= share * figures.strong.value - 1e-9
                assert choice.saves
            case SpendAtMost(share):
                assert figures.cost_share is None or figures.cost_share.value <= share + 1e-9
            case RiskAtMost(alpha):
                assert figures.missed.value <= alpha


@pytest.mark.parametrize(
    "target",
    [
        lambda: KeepQuality(0.0),
        lambda: KeepQuality(0.9, 1.0),
        lambda: SpendAtMost(0.5, 0.0),
        lambda: SpendAtMost(-1),
        lambda: RiskAtMost(0.0),
        lambda: RiskAtMost(0.1, 1.0),
    ],
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


def test_a_gap_that_may_be_none_gives_no_pgr() -> None:
    data = from_counts(both=4, only_weak=2, only_strong=3, neither=1)
    figures = ThresholdFigures.of(data, 0.75)
    assert figures.pgr is None
    assert "too close" in figures.pgr_reason
    same = ThresholdFigures.of(from_counts(4, 2, 2, 1), 0.75)
    assert same.pgr is None
    assert "score the same" in same.pgr_reason
