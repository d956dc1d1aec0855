"""Intervals of shares, percentiles and ratios against published values, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from app.experiments.statistics import Interval, geometric_ratio, quantile_interval, share_interval
from app.experiments.statistics.intervals import two_sided


def test_a_share_of_many_is_wilsons_and_of_few_exact() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    found = share_interval(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    few, exact = share_interval(3, 20), stats.binomtest(3, 20).proportion_ci(0.95, "exact")
    assert (few.low, few.high) == pytest.approx((exact.low, exact.high))
    assert found.method != few.method


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("total", [50, 200])
def test_shares_are_covered(share: float, total: int) -> None:
    hits = np.arange(total + 1)
    covered = [share in share_interval(int(each), total) for each in hits]
    assert stats.binom.pmf(hits, total, share)[covered].sum() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
@pytest.mark.parametrize("total", [5, 20, 49])
def test_shares_of_few_are_covered_at_least(share: float, total: int) -> None:
    hits = np.arange(total + 1)
    covered = [share in share_interval(int(each), total) for each in hits]
    assert stats.binom.pmf(hits, total, share)[covered].sum() >= 0.95


@pytest.mark.parametrize(("share", "total", "places"), [(0.5, 10, (2, 9)), (0.5, 49, (18, 32)), (0.8, 40, (27, 38))])
def test_percentiles_of_few_lie_between_two_of_them(share: float, total: int, places: tuple[int, int]) -> None:
    """By the binomial distribution: P(at most 1 of 10 below the median) = 11 / 1024, of 2 it would be 56 / 1024."""
    values = np.random.default_rng(0).permutation(np.arange(1.0, total + 1))
    found = quantile_interval(values, share)
    assert (found.low, found.high) == places
    below = stats.binom(total, share)
    assert max(below.cdf(places[0] - 1), below.sf(places[1] - 1)) <= 0.025
    assert min(below.cdf(places[0]), below.sf(places[1] - 2)) > 0.025


@pytest.mark.parametrize(("share", "total"), [(0.5, 50), (0.5, 100), (0.5, 400), (0.95, 100), (0.95, 400)])
def test_percentiles_are_covered(share: float, total: int) -> None:
    rng, true = np.random.default_rng(1), stats.lognorm.ppf(share, 1)
    hits = sum(true in quantile_interval(rng.lognormal(size=total), share) for _ in range(2000))
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


def test_few_values_show_no_upper_end_of_p95() -> None:
    assert quantile_interval(np.arange(71.0), 0.95).high == math.inf
    assert quantile_interval(np.arange(72.0), 0.95).high == pytest.approx(71, abs=0.1)
    one = quantile_interval([3.0], 0.5)
    assert (one.low, one.high) == (-math.inf, math.inf)


def test_ratios_are_students_interval_of_logarithms() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.lognormal(size=30), rng.lognormal(-0.5, size=30)
    found, logs = geometric_ratio(before, after), np.log(before / after)
    assert found.ratio == pytest.approx(stats.gmean(before) / stats.gmean(after))
    assert found.interval is not None
    exact = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((math.exp(exact.low), math.exp(exact.high)))


def test_swapping_the_two_turns_the_ratio_over() -> None:
    before, after = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.5, 1.0])
    there, back = geometric_ratio(before, after), geometric_ratio(after, before)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval.low == pytest.approx(1 / back.interval.high)


@pytest.mark.parametrize("groups", [None, np.arange(60) // 3])
def test_ratios_are_covered(groups: np.ndarray | None) -> None:
    rng, hits = np.random.default_rng(3), 0
    for _ in range(2000):
        shared = 0 if groups is None else rng.normal(0, 0.3, 20)[groups]
        before = np.exp(rng.normal(0, 0.2, 60) + shared)
        found = geometric_ratio(before, np.full(60, 0.5), groups)
        assert found.interval is not None
        hits += 2 in found.interval
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


def test_ratios_without_spread_have_no_interval() -> None:
    assert geometric_ratio([2.0], [1.0]).interval is None
    assert geometric_ratio([2.0] * 9, [1.0] * 9).interval is None
    assert geometric_ratio([2.0, 3.0], [1.0, 1.0], ["a", "a"]).interval is None
    with pytest.raises(ValueError, match="above 0"):
        geometric_ratio([1.0, 0.0], [1.0, 1.0])


def test_each_end_is_a_one_sided_bound() -> None:
    assert Interval(0, 1, two_sided(0.95), "").one_sided == pytest.approx(0.95)
    with pytest.raises(ValueError, match="one-sided level"):
        two_sided(0.5)
