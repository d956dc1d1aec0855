"""What is said about a margin: how often it errs, how many more prompts it asks for, what would turn it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from app.experiments.statistics import NonInferiority, State, noninferiority, tango_bounds

Draw = Callable[[np.random.Generator, int], np.ndarray]


def flips(gained: int, lost: int, prompts: int) -> np.ndarray:
    return np.array([1.0] * gained + [-1.0] * lost + [0.0] * (prompts - gained - lost))


def test_kept_worse_and_open() -> None:
    assert noninferiority(flips(5, 5, 400), 0.03).state is State.KEPT
    assert noninferiority(flips(2, 40, 400), 0.03).state is State.WORSE
    assert noninferiority(flips(5, 10, 400), 0.03).state is State.OPEN


def test_bounds_are_one_sided_ones() -> None:
    found = noninferiority(flips(10, 20, 400), 0.03)
    assert found.bounds.one_sided == pytest.approx(0.95)
    low, high = tango_bounds(10, 20, 400, 0.9)
    assert (found.bounds.low, found.bounds.high) == (float(low), float(high))


def test_no_loss_among_few_does_not_tell_a_rare_one() -> None:
    """Of 148 prompts without loss a loss of 2 % is seen once in twenty: 0.98¹⁴⁸ = 5.03 %, 0.98¹⁴⁹ = 4.93 %."""
    noise = np.random.default_rng(0).normal(0, 0.001, 148)
    for differences in (np.zeros(148), noise - noise.mean()):
        assert noninferiority(differences, 0.02).state is State.OPEN
        assert noninferiority([*differences, 0.0], 0.02).state is State.KEPT


@pytest.mark.parametrize("prompts", [50, 100, 200])
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("gained", [0.0, 0.02, 0.1])
def test_right_and_wrong_answers_err_as_said(prompts: int, margin: float, gained: float) -> None:
    """At a true difference of −margin, over all counts there could be."""
    lost = gained + margin
    rest = 1 - gained - lost
    more, less = (each.ravel() for each in np.meshgrid(np.arange(prompts + 1), np.arange(prompts + 1)))
    share = np.where(
        more + less <= prompts,
        stats.multinomial.pmf(np.stack([more, less, prompts - more - less], 1), prompts, [gained, lost, rest]),
        0,
    )
    likely = share > 1e-6
    more, less, share = more[likely], less[likely], share[likely]
    low, _ = tango_bounds(more, less, prompts, 0.9)
    assert share[low > -margin].sum() <= 0.06


def sparse(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """One in ten gains something, two in ten lose; the mean is −0.1 / 3."""
    gained, lost = rng.random(prompts) < 0.1, rng.random(prompts) < 0.2
    return gained * rng.beta(1, 2, prompts) - lost * rng.beta(1, 2, prompts)


def lopsided(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """Three in ten lose something; the mean is −0.1."""
    return (rng.random(prompts) < 0.3) * -rng.beta(1, 2, prompts)


def broken(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """All but alike, and one in twenty ruined; the mean is −0.04."""
    return np.clip(rng.normal(0, 0.03, prompts) - 0.8 * (rng.random(prompts) < 0.05), -1, 1)


def even(rng: np.random.Generator, prompts: int) -> np.ndarray:
    """All a little worse; the mean is −0.05."""
    return np.clip(rng.normal(-0.05, 0.1, prompts), -1, 1)


CASES: list[tuple[Draw, float]] = [(sparse, 0.1 / 3), (lopsided, 0.1), (broken, 0.04), (even, 0.05)]


def error_rate(draw: Draw, margin: float, prompts: int, times: int, groups: np.ndarray | None = None) -> float:
    rng = np.random.default_rng(prompts)
    kept = [noninferiority(draw(rng, prompts), margin, groups).state is State.KEPT for _ in range(times)]
    return float(np.mean(kept))


@pytest.mark.parametrize(("draw", "margin"), CASES)
@pytest.mark.parametrize(("prompts", "times"), [(20, 100), (60, 1000), (150, 1000)])
def test_scores_err_as_said(draw: Draw, margin: float, prompts: int, times: int) -> None:
    left_open = 0.016  # what 1,000 draws leave open: two of their standard errors
    assert error_rate(draw, margin, prompts, times) <= 0.06 + left_open


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "margin"), CASES)
@pytest.mark.parametrize("prompts", [50, 80, 120, 300])
def test_scores_err_as_said_counted_more_often(draw: Draw, margin: float, prompts: int) -> None:
    assert error_rate(draw, margin, prompts, 8000) <= 0.06


def test_groups_err_as_said() -> None:
    labels = np.repeat(np.arange(60), 4)

    def draw(rng: np.random.Generator, prompts: int) -> np.ndarray:
        return np.clip(rng.normal(-0.1, 0.15, prompts) + rng.normal(0, 0.15, 60)[labels], -1, 1)

    assert error_rate(draw, 0.1, 240, 1000, labels) <= 0.07
    assert error_rate(draw, 0.1, 240, 1000) > 0.1  # groups unheeded, it would err far more often


@pytest.mark.parametrize(("gained", "lost"), [(0.04, 0.06), (0.05, 0.05), (0.12, 0.15)])
def test_as_many_more_prompts_as_it_asks_for_mostly_do(gained: float, lost: float) -> None:
    """Where the first 150 show the very shares there are: four times in five."""
    rng, margin = np.random.default_rng(3), 0.06
    found = noninferiority(flips(round(gained * 150), round(lost * 150), 150), margin)
    if found.more_prompts is None:
        assert found.state is State.KEPT
        return
    total, enough = 150 + found.more_prompts, 0
    for _ in range(500):
        more, less, _ = rng.multinomial(total, [gained, lost, 1 - gained - lost])
        enough += noninferiority(flips(more, less, total), margin).state is State.KEPT
    assert enough / 500 == pytest.approx(0.8, abs=0.1)


def test_no_number_would_do_where_the_difference_is_no_smaller_than_the_margin() -> None:
    assert noninferiority(flips(2, 6, 100), 0.04).more_prompts is None
    assert noninferiority(flips(2, 5, 100), 0.04).more_prompts is not None


def test_groups_that_agree_ask_for_more_prompts() -> None:
    differences = np.repeat(flips(6, 8, 80), 3)
    alone = noninferiority(differences[::3], 0.03)
    grouped = noninferiority(differences, 0.03, np.repeat(np.arange(80), 3))
    assert alone.more_prompts is not None
    assert grouped.more_prompts is not None
    # three of each say no more than one: about three times as many are missing
    assert grouped.more_prompts == pytest.approx(3 * alone.more_prompts, rel=0.2)


def turned(found: NonInferiority, gained: int, lost: int) -> NonInferiority:
    """With as many answers other than they were as it says would turn it."""
    answers = found.answers_to_turn * (1 if found.state is State.KEPT else -1)
    return noninferiority(flips(gained, lost + answers, found.prompts), found.margin)


@pytest.mark.parametrize(("gained", "lost"), [(20, 20), (20, 24), (10, 40)])
def test_what_would_turn_it_turns_it(gained: int, lost: int) -> None:
    found = noninferiority(flips(gained, lost, 400), 0.05)
    assert (turned(found, gained, lost).state is State.KEPT) != (found.state is State.KEPT)
    assert f"about {found.answers_to_turn} of 400 answers" in found.turn
    assert f"{100 * found.margin_shown:.1f} points" in found.turn


@pytest.mark.parametrize(("margin", "level"), [(0.0, 0.95), (-0.1, 0.95), (1.0, 0.95), (0.02, 0.4)])
def test_what_is_no_margin_or_level_is_refused(margin: float, level: float) -> None:
    with pytest.raises(ValueError, match="between"):
        noninferiority([0.0], margin, level=level)


def test_one_prompt_is_open() -> None:
    found = noninferiority([0.0], 0.02)
    assert found.state is State.OPEN
    assert found.more_prompts is not None
    assert found.more_prompts >= 148
