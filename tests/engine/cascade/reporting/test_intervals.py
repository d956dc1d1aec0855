"""Intervals against published and brute-force values."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.reporting.intervals import (
    Resampling,
    binomial_p_value,
    clopper_pearson,
    percentile_interval,
    prompts_to_certify,
    upper_bound,
)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 5
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_as_published(hits: int, total: int, low: float, high: float) -> None:
    assert clopper_pearson(hits, total) == pytest.approx((low, high), abs=5e-5)


def test_no_share_no_bound() -> None:
    for hits, total, delta in [(3, 2, 0.1), (0, 0, 0.1), (-1, 3, 0.1), (1, 2, 0.0)]:
        with pytest.raises(ValueError, match=r"share|probability"):
            upper_bound(hits, total, delta)


@settings(deadline=None)
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.01, 0.99))
def test_the_p_value_is_the_binomial_tail_and_turns_at_the_bound(counts: tuple[int, int], risk: float) -> None:
    hits, total = counts
    tail = sum(comb(total, k) * risk**k * (1 - risk) ** (total - k) for k in range(hits + 1))
    p = float(binomial_p_value(np.array(hits), total, risk))
    assert p == pytest.approx(tail)
    assert (p <= 0.1) == (upper_bound(hits, total, 0.1) <= risk) or p == pytest.approx(0.1)


def test_how_many_prompts_certify() -> None:
    # without a miss: the least n with 0.95^n ≤ 0.05
    assert prompts_to_certify(0.0, 0.05, 0.05) == 59
    assert prompts_to_certify(0.05, 0.05, 0.05) is None
    some = prompts_to_certify(0.03, 0.05, 0.05)
    assert some is not None
    assert float(binomial_p_value(np.array(np.ceil(0.03 * some)), some, 0.05)) <= 0.05
    assert some > 59


def test_draws_are_of_all_prompts_and_the_same_for_a_seed() -> None:
    one = Resampling.of(50, seed=3, draws=120)
    assert one.counts.shape == (120, 50)
    assert (one.counts.sum(axis=1) == 50).all()
    assert (one.counts == Resampling.of(50, seed=3, draws=120).counts).all()
    assert not (one.counts == Resampling.of(50, seed=4, draws=120).counts).all()
    # Poisson(1), nearly: 36.8 % of prompts are missing from a draw
    assert (one.counts == 0).mean() == pytest.approx(0.364, abs=0.02)


@settings(deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=60))
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    column = np.array(values)
    low, high = percentile_interval(Resampling.of(len(values)).means(column[:, None])[:, 0])
    assert low - 1e-6 <= column.mean() <= high + 1e-6


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        sample = rng.exponential(1.0, (120, 1))
        low, high = percentile_interval(Resampling.of(120, seed=trial, draws=400).means(sample)[:, 0])
        covered += low <= 1.0 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_columns_of_a_prompt_stay_together() -> None:
    rng = np.random.default_rng(1)
    one = rng.normal(size=200)
    means = Resampling.of(200).means(np.column_stack([one, one + 2]))
    assert means[:, 1] - means[:, 0] == pytest.approx(np.full(len(means), 2.0), abs=1e-5)
