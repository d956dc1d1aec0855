"""Prompts in few groups: what they are worth, and how often their intervals and verdicts err."""

from __future__ import annotations

import numpy as np
import pytest

from app.experiments.statistics import State, difference_interval, mean_interval, noninferiority
from app.experiments.statistics.effective import LEAST_ALIKE, EffectiveSample

UNEVEN = np.array([13, 11, 11, 10, 9, 8, 8, 8, 7, 7, 7, *[6] * 2, *[5] * 4, *[4] * 7, *[3] * 9, *[2] * 5, *[1] * 4])
"""As prompts of templates come: 200 in 42."""


def alike(rng: np.random.Generator, sizes: np.ndarray, lost: float, gained: float, rho: float) -> np.ndarray:
    """Differences of right and wrong answers, whose intraclass correlation within groups is rho, ``[prompts]``."""
    shares = np.array([lost, gained, 1 - lost - gained])
    if rho:
        found = rng.dirichlet(np.maximum(shares, 1e-9) * (1 / rho - 1), len(sizes))
    else:
        found = np.tile(shares, (len(sizes), 1))
    return np.concatenate([rng.choice([-1.0, 1.0, 0.0], size, p=each) for size, each in zip(sizes, found, strict=True)])


def test_prompts_on_their_own_or_in_too_few_groups_are_not_taken_for_fewer() -> None:
    values = np.zeros(200)
    assert EffectiveSample.of(values, None) is None
    assert EffectiveSample.of(values, np.arange(200)) is None
    assert EffectiveSample.of(values, np.arange(200) % 8) is None  # 7 degrees of freedom
    assert EffectiveSample.of(values[:24], np.arange(24) % 12) is None  # less than 30 on their own
    one_large = np.minimum(np.arange(200) // 2, 30)
    assert EffectiveSample.of(values, one_large) is None  # its 140 outweigh the rest


def test_the_design_effect_is_kishs() -> None:
    groups = np.repeat(np.arange(40), 5)
    same = EffectiveSample.of(np.repeat([-1.0, 0.0], 100), groups)
    assert same is not None
    assert same.design_effect == pytest.approx(5)  # prompts of a group are equal: five tell as much as one
    unlike = EffectiveSample.of(np.tile([-1.0, 0.0, 0.0, 0.0, 0.0], 40), groups)
    assert unlike is not None
    assert unlike.design_effect == pytest.approx(1 + 4 * LEAST_ALIKE)
    assert unlike.freedom == pytest.approx(39)
    assert unlike.prompts(0.95) == pytest.approx(200 / (1 + 4 * LEAST_ALIKE) * (1.95996 / 2.02269) ** 2, rel=1e-4)


def test_a_clear_loss_in_few_groups_is_told() -> None:
    """33 lost and 4 gained of 200, in 22 of 42 templates."""
    groups = np.repeat(np.arange(42), UNEVEN)
    differences = np.zeros(200)
    differences[::6][:33] = -1
    differences[3::50] = 1
    found = noninferiority(differences, 0.05, groups)
    assert found.state is State.WORSE
    assert found.bounds.high < -0.08


def test_a_rare_loss_in_few_groups_keeps_a_wide_margin() -> None:
    """Two lost and one gained of 200, in two of 42 templates."""
    groups = np.repeat(np.arange(42), UNEVEN)
    differences = np.zeros(200)
    differences[[0, 1]], differences[100] = -1, 1
    assert noninferiority(differences, 0.05, groups).state is State.KEPT
    assert noninferiority(differences, 0.03, groups).state is State.OPEN
    assert "200 prompts in 42 groups" in difference_interval(differences, groups).method


def test_scores_between_right_and_wrong_have_a_mean_of_the_same_kind() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), 5)
    found = mean_interval(rng.random(150), groups, within=(0, 1))
    assert found is not None
    assert "Student's interval, 150 prompts in 30 groups" in found.method
    assert 0.5 in found
    equal = mean_interval(np.ones(150), groups, within=(0, 1))
    assert equal is not None
    assert equal.low < 0.98
    assert equal.high == 1


CASES = [(0.05, 0.0), (0.06, 0.01), (0.2, 0.05), (0.03, 0.03)]
SIZES = [UNEVEN, np.full(20, 10), np.full(30, 5), np.full(12, 10)]


def rates(sizes: np.ndarray, lost: float, gained: float, rho: float, times: int) -> tuple[float, float, float]:
    """How often the interval holds the true difference, and how often it is called kept and worse at −margin."""
    rng, groups = np.random.default_rng(int(100 * rho)), np.repeat(np.arange(len(sizes)), sizes)
    true, held, kept, worse = gained - lost, 0, 0, 0
    for _ in range(times):
        differences = alike(rng, sizes, lost, gained, rho)
        held += true in difference_interval(differences, groups)
        if true:
            state = noninferiority(differences, -true, groups).state
            kept += state is State.KEPT
            worse += state is State.WORSE
    return held / times, kept / times, worse / times


@pytest.mark.parametrize(("lost", "gained"), CASES)
@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_intervals_and_verdicts_of_few_groups_err_as_said(lost: float, gained: float, rho: float) -> None:
    held, kept, worse = rates(UNEVEN, lost, gained, rho, 200)
    assert held >= 0.93 - 0.036  # two standard errors of 200 draws
    assert max(kept, worse) <= 0.06 + 0.034


@pytest.mark.slow
@pytest.mark.parametrize("sizes", SIZES, ids=len)
@pytest.mark.parametrize(("lost", "gained"), CASES)
@pytest.mark.parametrize("rho", [0.0, 0.1, 0.2, 0.3])
def test_they_err_as_said_counted_more_often(sizes: np.ndarray, lost: float, gained: float, rho: float) -> None:
    held, kept, worse = rates(sizes, lost, gained, rho, 1000)
    assert held >= 0.93 - 0.016
    assert max(kept, worse) <= (0.06 if rho <= 0.2 else 0.07) + 0.015  # what 1,000 draws leave open


@pytest.mark.slow
@pytest.mark.parametrize("groups", [60, 120])
@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_rare_losses_in_many_groups_err_as_said(groups: int, rho: float) -> None:
    held, kept, _ = rates(np.full(groups, 5), 0.05, 0.0, rho, 1000)
    assert held >= 0.93 - 0.016
    assert kept <= 0.06 + 0.015
