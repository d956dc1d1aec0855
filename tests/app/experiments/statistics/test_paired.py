"""Differences of paired scores: Tango's interval as published, p-values by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from app.experiments.statistics import difference_interval, difference_p_value, tango_bounds


@pytest.mark.parametrize(
    ("gained", "lost", "prompts", "level", "low", "high"),
    [
        # contingencytables 3.0 for R (Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, 2017)
        (6, 16, 161, 0.95, -0.1240, -0.0054),
        (1, 7, 21, 0.95, -0.517, -0.026),
        # PropCIs 0.3 for R: scoreci.mp(25, 28, 618, 0.9)
        (28, 25, 618, 0.90, -0.0148, 0.0247),
    ],
)
def test_tango_as_published(gained: int, lost: int, prompts: int, level: float, low: float, high: float) -> None:
    found = [float(end) for end in tango_bounds(gained, lost, prompts, level)]
    assert found == pytest.approx([low, high], abs=5e-4 if prompts == 21 else 5e-5)


def test_tango_without_flips_by_hand() -> None:
    """With b = c = 0 the score is −nδ / √(nδ(1 − δ)), z where δ = z² / (n + z²)."""
    z2 = stats.norm.ppf(0.975) ** 2
    low, high = tango_bounds(0, 0, 100)
    assert (float(low), float(high)) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)))


def test_right_and_wrong_answers_take_tangos_interval() -> None:
    differences = np.array([1.0] * 6 + [-1.0] * 16 + [0.0] * 139)
    found = difference_interval(differences)
    assert (found.low, found.high) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert "Tango" in found.method
    assert "Tango" not in difference_interval(differences, np.arange(161) // 2).method
    assert "Tango" not in difference_interval(differences[:49]).method


def outcomes(prompts: int, gained: float, lost: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All counts of gained and lost answers that are likely, with their probabilities."""
    more, less = (each.ravel() for each in np.meshgrid(np.arange(prompts + 1), np.arange(prompts + 1)))
    more, less = more[more + less <= prompts], less[more + less <= prompts]
    rest = prompts - more - less
    share = stats.multinomial.pmf(np.stack([more, less, rest], 1), prompts, [gained, lost, 1 - gained - lost])
    likely = share > 1e-9
    return more[likely], less[likely], share[likely]


@pytest.mark.parametrize("prompts", [50, 100, 200])
@pytest.mark.parametrize(
    ("gained", "lost"), [(0.05, 0.05), (0.1, 0.1), (0.05, 0.1), (0.02, 0.1), (0.1, 0.3), (0.3, 0.3)]
)
def test_tango_is_covered_exactly_counted(prompts: int, gained: float, lost: float) -> None:
    more, less, share = outcomes(prompts, gained, lost)
    low, high = tango_bounds(more, less, prompts)
    inside = (low <= gained - lost) & (gained - lost <= high)
    assert share[inside].sum() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("prompts", "flips"), [(50, 0.02), (50, 0.04), (100, 0.02)])
def test_rare_flips_are_covered_at_least(prompts: int, flips: float) -> None:
    """Where hardly any answer flips there are too few outcomes for 95 %: it is more, never less."""
    more, less, share = outcomes(prompts, flips / 2, flips / 2)
    low, high = tango_bounds(more, less, prompts)
    assert share[(low <= 0) & (high >= 0)].sum() >= 0.95


def test_no_difference_at_all_is_no_certainty() -> None:
    for prompts in (1, 10, 60, 5000):
        for value in (0.0, 0.25, -1.0):
            found = difference_interval(np.full(prompts, value))
            assert found.low <= value <= found.high
            assert found.high - found.low > 1 / prompts


def test_mcnemar_where_answers_are_right_or_wrong() -> None:
    assert difference_p_value([1.0] * 9 + [-1.0] + [0.0] * 40) == pytest.approx(22 / 1024)
    assert difference_p_value(np.zeros(30)) == 1


def test_signs_of_few_are_counted_out() -> None:
    """Of 2⁴ ways to sign 0.1, 0.2, 0.3 and 0.4, only two sum to 1 or −1."""
    assert difference_p_value([0.1, 0.2, 0.3, 0.4, 0.0]) == pytest.approx(2 / 16)
    # of three groups with sums 2, 1 and 1 two ways of eight go as far
    assert difference_p_value([1.0, 1.0, 1.0, 1.0], ["a", "a", "b", "c"]) == pytest.approx(2 / 8)


def test_signs_of_many_agree_with_scipy() -> None:
    differences = np.clip(np.random.default_rng(0).normal(0.03, 0.15, 80), -1, 1)
    exact = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    assert difference_p_value(differences) == pytest.approx(exact.pvalue, abs=0.015)


def test_false_alarms_of_signs_are_no_more_than_said() -> None:
    rng = np.random.default_rng(2)
    values = [difference_p_value(np.clip(rng.normal(0, 0.2, 60), -1, 1), np.arange(60) // 2) for _ in range(600)]
    assert np.mean(np.array(values) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_what_is_no_difference_is_refused() -> None:
    with pytest.raises(ValueError, match="between −1 and 1"):
        difference_interval([0.0, 1.5])
    with pytest.raises(ValueError, match="at least one"):
        difference_interval([])
    with pytest.raises(ValueError, match="numbers"):
        difference_interval([0.0, float("nan")])
    with pytest.raises(ValueError, match="groups"):
        difference_interval([0.0, 1.0], ["a"])
