"""Means over prompts and groups: BCa against scipy, Gaffke's bound against the exact binomial one, coverage."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.experiments.statistics import Grouped, mean_interval
from app.experiments.statistics.means import bca_interval, gaffke_interval, student_interval

Draw = Callable[[np.random.Generator, int], np.ndarray]


def test_the_mean_is_over_prompts() -> None:
    grouped = Grouped.of([1.0, 0.0, 0.0, 0.0], ["a", "b", "b", "b"])
    assert (grouped.mean, grouped.prompts, len(grouped)) == (0.25, 4, 2)
    assert not grouped.alone
    assert grouped.without_one().tolist() == [0, 1]


def test_the_standard_error_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=40)
    assert Grouped.of(values).standard_error == pytest.approx(stats.sem(values))
    # prompts that are said twice tell nothing new
    twice = Grouped.of(np.repeat(values, 2), np.repeat(np.arange(40), 2))
    assert twice.standard_error == pytest.approx(stats.sem(values))


def test_bca_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).lognormal(size=2000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(2), batch=100
    )
    mine, error = bca_interval(Grouped.of(values)), Grouped.of(values).standard_error
    assert mine.low == pytest.approx(theirs.confidence_interval.low, abs=0.25 * error)
    assert mine.high == pytest.approx(theirs.confidence_interval.high, abs=0.25 * error)
    # skewed to the right: it reaches farther up than down
    assert mine.high - values.mean() > 1.03 * (values.mean() - mine.low)


def test_students_interval_is_scipys() -> None:
    values = np.random.default_rng(3).normal(size=12)
    found, theirs = student_interval(Grouped.of(values)), stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


@pytest.mark.parametrize(("lost", "prompts"), [(0, 1), (0, 20), (3, 20), (7, 40), (2, 5000)])
def test_gaffkes_bound_of_two_kinds_is_the_exact_binomial_one(lost: int, prompts: int) -> None:
    values = np.repeat([-1.0, 0.0], [lost, prompts - lost])
    found = gaffke_interval(Grouped.of(values), (-1, 0))
    exact = stats.binomtest(lost, prompts).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((-exact.high, -exact.low), rel=0.06, abs=1e-9)


def graded(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Scores in quarters, compared."""
    return (rng.integers(0, 5, prompts) - rng.integers(0, 5, prompts)) / 4


def lopsided(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Three in ten lose something; the mean is −0.1."""
    return (rng.random(prompts) < 0.3) * -rng.beta(1, 2, prompts)


def sparse(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Most are equal, some gain and more lose; the mean is −0.1 / 3."""
    gained, lost = rng.random(prompts) < 0.2, rng.random(prompts) < 0.3
    return gained * rng.beta(1, 2, prompts) - lost * rng.beta(1, 2, prompts)


def coverage(draw: Draw, true: float, prompts: int, groups: np.ndarray | None = None, times: int = 1200) -> float:
    rng, hits = np.random.default_rng(prompts), 0
    for _ in range(times):
        found = mean_interval(draw(rng, prompts), groups, within=(-1, 1))
        assert found is not None
        hits += true in found
    return hits / times


CASES = [(graded, 0.0), (lopsided, -0.1), (sparse, -0.1 / 3)]


@pytest.mark.parametrize(("draw", "true"), CASES)
@pytest.mark.parametrize("prompts", [60, 150])
def test_means_are_covered(draw: Draw, true: float, prompts: int) -> None:
    assert coverage(draw, true, prompts) == pytest.approx(0.95, abs=0.025)  # 2 points, and what 1,200 draws leave open


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "true"), CASES)
@pytest.mark.parametrize("prompts", [50, 100, 200])
def test_means_are_covered_counted_more_often(draw: Draw, true: float, prompts: int) -> None:
    assert coverage(draw, true, prompts, times=4000) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("draw", "true"), CASES)
@pytest.mark.parametrize("prompts", [2, 10, 30, 49])
def test_means_of_few_are_covered_at_least(draw: Draw, true: float, prompts: int) -> None:
    assert coverage(draw, true, prompts, times=200) >= 0.95


@pytest.mark.parametrize("lost", [0.03, 0.06])
def test_rare_losses_are_covered_at_least(lost: float) -> None:
    """Of 60 prompts often none loses anything, or one: what a bootstrap could not know."""

    def draw(rng: np.random.Generator, prompts: int) -> np.ndarray:
        return (rng.random(prompts) < lost) * -rng.beta(1, 2, prompts)

    assert coverage(draw, -lost / 3, 60, times=300) >= 0.95


@pytest.mark.parametrize("groups", [60, 120])
def test_means_over_groups_are_covered(groups: int) -> None:
    """Prompts of a template share half of what they differ by; groups are of one to five."""
    rng = np.random.default_rng(groups)
    labels = np.repeat(np.arange(groups), rng.integers(1, 6, groups))

    def draw(rng: np.random.Generator, prompts: int) -> np.ndarray:
        return np.clip(rng.normal(0, 0.2, prompts) + rng.normal(0, 0.2, groups)[labels], -1, 1)

    assert coverage(draw, 0, len(labels), labels) == pytest.approx(0.95, abs=0.025)
    # taken for prompts of their own they would look far more certain than they are
    assert coverage(draw, 0, len(labels)) < 0.9


def test_what_has_no_range_and_no_spread_has_no_interval() -> None:
    assert mean_interval([3.0]) is None
    assert mean_interval([3.0] * 80) is None
    found = mean_interval([3.0, 4.0])
    assert found is not None
    assert 3.5 in found


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=70), st.integers(1, 70))
def test_it_is_never_of_zero_width_and_never_leaves_the_range(values: list[float], groups: int) -> None:
    labels = np.arange(len(values)) % groups
    found = mean_interval(values, labels, within=(-1, 1))
    assert found is not None
    assert -1 <= found.low <= found.high <= 1
    assert found.high - found.low > 0
    assert found.low - 1e-9 <= float(np.mean(values)) <= found.high + 1e-9
