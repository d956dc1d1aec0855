"""Figures with honest intervals: never of zero width, whatever the prompts have in common."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.reporting.boundary import BoundaryData
from engine.cascade.reporting.figures import Figure, ThresholdFigures
from engine.cascade.reporting.intervals import kept_bounds, kept_interval, mean_interval, ratio_interval, unseen_share
from engine.cascade.reporting.ladder_figures import LadderFigures
from engine.types import NEVER
from tests.support.cascade import boundary

SCORE = st.sampled_from([0.0, 0.25, 1.0])


def all_figures(found: ThresholdFigures | LadderFigures) -> list[Figure]:
    values = (getattr(found, field.name) for field in fields(found))
    each = (value if isinstance(value, tuple) else (value,) for value in values)
    return [figure for group in each for figure in group if isinstance(figure, Figure)]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(SCORE, SCORE, st.sampled_from([0.1, 0.5, float("nan")])), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.3, NEVER]),
    st.sampled_from([0.0, 1.0]),
)
def test_no_interval_is_of_zero_width_and_each_holds_its_figure(
    rows: list[tuple[float, float, float]], threshold: float, tried: float
) -> None:
    weak, strong, router = map(np.array, zip(*rows, strict=True))
    data = boundary(weak, strong, router, tried=tried)
    for found in (ThresholdFigures.of(data, threshold), LadderFigures.of([data], [threshold])):
        for figure in all_figures(found):
            assert figure.low < figure.high
            assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
            assert np.isfinite([figure.low, figure.high]).all()


@pytest.mark.parametrize("prompts", [1, 15, 5000])
@pytest.mark.parametrize("right", [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
def test_the_more_prompts_agree_the_narrower_the_interval(prompts: int, right: tuple[float, float]) -> None:
    data = boundary(np.full(prompts, right[0]), np.full(prompts, right[1]), np.full(prompts, 0.5))
    found = ThresholdFigures.of(data, NEVER)
    assert (found.quality_kept is None) == (right[1] == 0)
    if found.quality_kept:
        width = found.quality_kept.high - found.quality_kept.low
        assert width > {1: 1.0, 15: 0.2, 5000: 0.0}[prompts]
        assert width < {1: 10.0, 15: 0.6, 5000: 0.01}[prompts]


def test_what_was_not_met_is_as_the_rule_of_three_says() -> None:
    assert unseen_share(100) == pytest.approx(3.69 / 100, rel=0.03)
    low, high = mean_interval(np.ones(100), 0.0, 2.0)
    assert (1 - low, high - 1) == pytest.approx((unseen_share(100),) * 2)


def test_the_interval_of_the_quality_kept_is_nam_and_blackwelders() -> None:
    # all 20 right by both: the bound is n / (n + z²), by hand
    low, high = kept_interval(np.ones(20), np.ones(20))
    assert (low, high) == pytest.approx((20 / (20 + 1.959964**2), (20 + 1.959964**2) / 20), abs=1e-4)
    # turned around, the ratio is turned around
    both, gained, lost = (np.array(float(n)) for n in (43, 2, 9))
    low, high = kept_bounds(both, gained, lost)
    turned = kept_bounds(both, lost, gained)
    assert (1 / turned[1], 1 / turned[0]) == pytest.approx((float(low), float(high)), rel=1e-6)


@pytest.mark.parametrize("prompts", [30, 100, 225])
def test_the_interval_of_the_quality_kept_covers_as_often_as_it_says(prompts: int) -> None:
    rng = np.random.default_rng(prompts)
    # of all prompts: 62 % right by both, 2 % by the kept answer alone, 6 % by the reference alone
    counts = rng.multinomial(prompts, [0.62, 0.02, 0.06, 0.30], 4000).astype(float)
    low, high = kept_bounds(counts[:, 0], counts[:, 1], counts[:, 2])
    covered = ((low <= 64 / 68) & (high >= 64 / 68)).mean()
    assert 0.93 <= covered <= (0.995 if prompts < 100 else 0.98)


def test_fiellers_interval_covers_as_often_as_it_says_and_is_none_where_the_denominator_may_be_nothing() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        under = rng.gamma(4, 1, 40)
        over = 0.5 * under + rng.gamma(1, 1, 40)
        interval = ratio_interval(over, under, 0.0, 2.0)
        assert interval is not None
        covered += interval[0] <= 0.75 <= interval[1]
    # room for prompts of a kind not met makes it wider than Fieller's own
    assert 0.92 <= covered / 600 <= 0.995
    assert ratio_interval(np.ones(3), np.array([0.0, 0.0, 1.0]), 0.0, 2.0) is None


def test_one_prompt_has_figures_that_say_next_to_nothing() -> None:
    data = boundary(np.ones(1), np.ones(1), np.ones(1))
    found = ThresholdFigures.of(data, 0.5)
    assert (found.quality.low, found.quality.high) == pytest.approx((0.025, 1.0))
    assert found.cost.low < 0.2 < 7 < found.cost.high
    assert found.pgr is None


def test_equal_tiers_leave_a_saving_that_may_be_none() -> None:
    data: BoundaryData = replace(boundary(np.ones(30), np.ones(30), np.full(30, 0.5)), strong_cost=np.full(30, 1.0))
    share = ThresholdFigures.of(data, NEVER).cost_share
    assert share is not None
    assert share.low < 1 < share.high
