"""Flips, McNemar's exact test and Wilson's interval against published and hand-computed values."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation import PairedOutcomes, compare_outcomes, wilson_interval


def paired(lost: int, gained: int) -> PairedOutcomes:
    return PairedOutcomes(both_right=40, lost=lost, gained=gained, both_wrong=10)


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (5, 5, 1.0),
        (0, 5, 0.0625),  # 2 / 2^5
        (6, 0, 0.03125),
        (1, 9, 0.021484375),  # 2 (1 + 10) / 2^10
        (2, 8, 0.109375),  # 2 (1 + 10 + 45) / 2^10
        (2, 10, 0.03857421875),  # 2 (1 + 12 + 66) / 2^12
    ],
)
def test_mcnemar_by_hand(lost: int, gained: int, p: float) -> None:
    assert paired(lost, gained).p_value == pytest.approx(p, abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_symmetric_and_a_probability(lost: int, gained: int) -> None:
    p = paired(lost, gained).p_value
    assert p == paired(gained, lost).p_value
    assert 0 < p <= 1


def test_mcnemar_takes_thousands_of_flips() -> None:
    assert paired(0, 1074).p_value == pytest.approx(2 * 0.5**1074)
    assert paired(3000, 3000).p_value == 1
    n, k = 1500, 700
    exact = 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n
    assert paired(k, n - k).p_value == pytest.approx(exact)


def test_outcomes_are_counted_in_both_directions() -> None:
    before = [True, True, True, False, False, False, True]
    after = [True, False, False, True, False, False, True]
    outcomes = compare_outcomes(before, after)
    assert outcomes == PairedOutcomes(both_right=2, lost=2, gained=1, both_wrong=2)
    assert outcomes.flips == 3


def test_the_same_accuracy_can_hide_flips() -> None:
    outcomes = compare_outcomes([True] * 5 + [False] * 5, [False] * 5 + [True] * 5)
    assert (outcomes.flips, outcomes.lost, outcomes.gained, outcomes.p_value) == (10, 5, 5, 1.0)


def test_outcomes_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        compare_outcomes([True, False], [True])


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_as_published(right: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_mirrors(counts: tuple[int, int]) -> None:
    right, total = counts
    low, high = wilson_interval(right, total)
    assert 0 <= low <= right / total + 1e-12
    assert right / total - 1e-12 <= high <= 1
    assert wilson_interval(total - right, total) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("right", "total", "confidence"), [(1, 0, 0.9), (0, 0, 0.9), (-1, 3, 0.9), (1, 2, 1.0)])
def test_no_share_no_interval(right: int, total: int, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"share|confidence"):
        wilson_interval(right, total, confidence)
