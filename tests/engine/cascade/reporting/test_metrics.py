"""PGR and its kin against published counts, hand-computed values and what must always hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.reporting.boundary import Curve
from engine.cascade.reporting.intervals import Resampling
from engine.cascade.reporting.metrics import (
    RouterMetrics,
    aiq,
    first_reach,
    oracle_quality,
    quality_at_share,
    random_quality,
)
from engine.cascade.routing.scores import random_score
from tests.support.cascade import boundary, from_counts, simulated


def test_published_counts_give_the_published_oracle() -> None:
    data = from_counts(both=739, only_weak=94, only_strong=382, neither=92)
    metrics = RouterMetrics.of(data)
    assert (100 * metrics.weak, 100 * metrics.strong) == pytest.approx((63.7337, 85.7689), abs=5e-5)
    oracle = 100 * oracle_quality(data, np.array([0.1, 0.2, 0.3]))
    assert oracle.tolist() == pytest.approx([73.73, 83.73, 92.96], abs=0.005)


def test_past_what_can_be_gained_the_oracle_stays() -> None:
    data = from_counts(both=739, only_weak=94, only_strong=382, neither=92)
    best = (739 + 94 + 382) / 1307
    last_gain = 382 / 1307
    assert oracle_quality(data, last_gain - 0.001) < best - 0.0005
    assert oracle_quality(data, np.array([last_gain, 0.5, 1.0])).tolist() == pytest.approx([best] * 3)
    # a router that must use its whole budget also sends up what only the small model gets right
    assert quality_at_share(data, 1.0) == pytest.approx(1121 / 1307)


@settings(deadline=None)
@given(*[st.integers(0, 30)] * 4, st.floats(0, 1))
def test_the_oracle_by_counts(both: int, only_weak: int, only_strong: int, neither: int, share: float) -> None:
    n = both + only_weak + only_strong + neither
    if n:
        data = from_counts(both, only_weak, only_strong, neither)
        expected = (both + only_weak + min(share * n, only_strong)) / n
        assert oracle_quality(data, share) == pytest.approx(expected)


def test_figures_by_hand() -> None:
    # sent up in this order: gains 1, 0, 0, 1: PGR 0, ½, ½, ½, 1 at shares 0, ¼, ½, ¾, 1
    weak, strong = np.array([0.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])
    data = boundary(weak, strong, np.array([0.9, 0.8, 0.7, 0.6]))
    metrics = RouterMetrics.of(data)
    assert (metrics.weak, metrics.strong, metrics.reason) == (0.25, 0.75, "")
    assert metrics.apgr_area == pytest.approx((0.25 + 0.5 + 0.5 + 0.75) / 4)
    assert metrics.apgr_mean == pytest.approx((0.2 + 0.4 + 0.5 * 5 + 0.6 + 0.8 + 1.0) / 10)
    assert metrics.cpt50 == pytest.approx(0.25)
    assert metrics.cpt80 == pytest.approx(0.75 + 0.25 * 0.6)
    # costs 1, 1.75, … 4: the hull is (1, 0.25), (1.75, 0.5), (4, 0.75)
    assert metrics.aiq == pytest.approx((0.75 * 0.375 + 2.25 * 0.625) / 3)


def test_chance_recovers_half() -> None:
    data = simulated(20_000)
    data = replace(data, router_score=random_score(data.ids))
    metrics = RouterMetrics.of(data)
    assert metrics.apgr_area == pytest.approx(0.5, abs=0.03)
    assert metrics.apgr_mean == pytest.approx(0.55, abs=0.03)
    assert metrics.cpt50 == pytest.approx(0.5, abs=0.05)
    share = np.linspace(0, 1, 11)
    assert quality_at_share(data, share) == pytest.approx(random_quality(data, share), abs=0.01)


def test_a_router_that_tells_something_beats_chance_with_certainty() -> None:
    data = simulated(1000)
    metrics = RouterMetrics.of(data, Resampling.of(1000))
    assert metrics.apgr_area_interval is not None
    low, high = metrics.apgr_area_interval
    assert metrics.apgr_area is not None
    assert 0.5 < low < metrics.apgr_area < high < 1


def test_the_interval_is_that_of_drawing_prompts_anew() -> None:
    data = simulated(300)
    resampling = Resampling.of(300, draws=200)
    areas = []
    for counts in resampling.counts.astype(int):
        areas.append(RouterMetrics.of(data.rows(np.repeat(np.arange(300), counts))).apgr_area)
    metrics = RouterMetrics.of(data, resampling)
    assert metrics.apgr_area_interval == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=1e-6)


@pytest.mark.parametrize(
    ("weak", "strong", "reason"), [(0.5, 0.5, "score the same"), (0.8, 0.6, "larger model scores lower")]
)
def test_without_a_gap_nothing_is_recovered_and_it_is_said(weak: float, strong: float, reason: str) -> None:
    data = boundary(np.full(5, weak), np.full(5, strong), np.linspace(0, 1, 5))
    metrics = RouterMetrics.of(data, Resampling.of(5))
    assert reason in metrics.reason
    figures = (metrics.apgr_mean, metrics.apgr_area, metrics.apgr_area_interval, metrics.cpt50, metrics.cpt80)
    assert figures == (None,) * 5
    assert metrics.aiq is not None


def test_aiq_needs_a_dearer_large_model() -> None:
    curve = Curve.of(from_counts(1, 0, 1, 0))
    assert aiq(curve, 2.0, 2.0) is None


def test_aiq_is_not_lowered_by_points_below_the_hull() -> None:
    up = Curve(
        thresholds=np.array([2.0, 1.0, 0.0]),
        share=np.array([0.0, 0.5, 1.0]),
        quality=np.array([0.0, 0.1, 1.0]),
        cost=np.array([1.0, 2.0, 3.0]),
    )
    assert aiq(up, 1.0, 3.0) == pytest.approx(0.5)


def test_the_first_share_that_reaches_a_level() -> None:
    share, values = np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.4])
    assert first_reach(share, values, 0.5) == pytest.approx(0.25)
    assert first_reach(share, values, 0.0) == 0.0
    assert first_reach(share, values, 1.1) is None


@pytest.mark.parametrize("unknown", [0, 5])
def test_a_draw_of_every_prompt_once_gives_the_figures_with_room_for_prompts_not_met(unknown: int) -> None:
    data = simulated(200)
    data.router_score[:unknown] = np.nan
    once = RouterMetrics.of(data, Resampling(np.ones((40, 200), np.float32)))
    for name in ("apgr_area", "apgr_mean", "cpt50", "cpt80", "aiq"):
        value, unseen = getattr(once, name), 1 - 0.025 ** (1 / 200)
        expected = (value - unseen * value, value + unseen * (1 - value))
        assert getattr(once, f"{name}_interval") == pytest.approx(expected, abs=1e-5), name


def test_intervals_hold_the_figures_and_shrink_with_more_prompts() -> None:
    few, many = (RouterMetrics.of(simulated(n), Resampling.of(n)) for n in (150, 2400))
    for name in ("apgr_area", "apgr_mean", "cpt50", "cpt80", "aiq"):
        widths = []
        for metrics in (few, many):
            low, high = getattr(metrics, f"{name}_interval")
            assert low <= getattr(metrics, name) <= high, name
            widths.append(high - low)
        assert widths[1] < widths[0], name


def test_a_gap_that_may_be_none_has_no_interval_but_quality_for_cost_has() -> None:
    data = boundary(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.5, 0.9]))
    metrics = RouterMetrics.of(data, Resampling.of(3))
    assert metrics.apgr_area is not None
    assert (metrics.apgr_area_interval, metrics.cpt50_interval) == (None, None)
    assert metrics.aiq_interval is not None
