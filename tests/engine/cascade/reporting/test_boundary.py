"""What a threshold gives and costs, at every threshold at once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.reporting.boundary import BoundaryData, Curve
from engine.cascade.reporting.metrics import oracle_quality, quality_at_share
from engine.errors import RecordedPairsError
from engine.types import NEVER
from tests.support.cascade import STRONG, WEAK, answer, boundary, prompt

SCORES = st.sampled_from([0.0, 0.5, 1.0])
ROUTER = st.sampled_from([0.0, 0.25, 0.5, 1.0, math.nan]) | st.floats(0, 1)


@st.composite
def boundaries(draw: st.DrawFn) -> BoundaryData:
    rows = draw(
        st.lists(st.tuples(SCORES, SCORES, ROUTER, st.floats(0.1, 5), st.floats(0, 5)), min_size=1, max_size=30)
    )
    weak, strong, router, weak_cost, dearer = map(np.array, zip(*rows, strict=True))
    data = boundary(weak, strong, router)
    tried = weak_cost * draw(st.sampled_from([0.0, 0.5, 1.0]))
    return replace(data, weak_cost=weak_cost, strong_cost=weak_cost + dearer, tried_cost=tried)


@settings(deadline=None)
@given(boundaries(), st.floats(0, 1))
def test_the_curve_says_what_each_threshold_gives(data: BoundaryData, threshold: float) -> None:
    curve = Curve.of(data)
    for at in range(len(curve.thresholds)):
        up = data.up(curve.thresholds[at])
        assert curve.share[at] == pytest.approx(up.mean())
        assert curve.quality[at] == pytest.approx(data.quality(up).mean())
        assert curve.cost[at] == pytest.approx(data.cost(up).mean())
    assert np.abs(curve.share - data.up(threshold).mean()).min() < 1e-9


@settings(deadline=None)
@given(boundaries())
def test_a_curve_runs_from_the_small_model_to_the_large_and_costs_ever_more(data: BoundaryData) -> None:
    curve = Curve.of(data)
    assert (np.diff(curve.share) > 0).all()
    assert (np.diff(curve.cost) >= -1e-9).all()
    assert (np.diff(curve.thresholds) < 0).all()
    assert curve.share[-1] == 1
    assert quality_at_share(data, 0.0) == pytest.approx(data.weak_score.mean())
    assert quality_at_share(data, 1.0) == pytest.approx(data.strong_score.mean())


@settings(deadline=None)
@given(boundaries(), st.floats(0, 1))
def test_no_router_beats_the_oracle(data: BoundaryData, share: float) -> None:
    assert oracle_quality(data, share) >= quality_at_share(data, share) - 1e-9


@settings(deadline=None)
@given(boundaries(), st.integers(0, 2**32))
def test_the_order_of_prompts_plays_no_part(data: BoundaryData, seed: int) -> None:
    one, other = Curve.of(data), Curve.of(data.rows(np.random.default_rng(seed).permutation(len(data))))
    assert one.thresholds.tolist() == other.thresholds.tolist()
    assert one.quality == pytest.approx(other.quality)
    assert one.cost == pytest.approx(other.cost)


def test_going_up_after_an_answer_costs_that_answer_too() -> None:
    scores = np.array([0.1, 0.9])
    routed = boundary(np.zeros(2), np.ones(2), scores)
    routed = replace(routed, extra_cost=np.full(2, 0.125))
    escalated = replace(routed, tried_cost=routed.weak_cost)
    early = replace(routed, tried_cost=np.full(2, 0.5))
    up = routed.up(0.5)
    assert up.tolist() == [False, True]
    assert routed.cost(up).tolist() == [1.125, 4.125]
    assert escalated.cost(up).tolist() == [1.125, 5.125]
    assert early.cost(up).tolist() == [1.125, 4.625]
    # the first token of the answer that is kept: of the small one at once, of the large one after all before it
    assert routed.ttft_s(up).tolist() == [0.375, 0.875]
    assert escalated.ttft_s(up).tolist() == [0.25, 1.875]
    assert early.ttft_s(up).tolist() == [0.25, 1.375]


def test_unknown_scores_go_up_at_every_threshold_and_are_counted() -> None:
    data = boundary(np.zeros(4), np.ones(4), np.array([0.3, math.nan, 0.6, math.nan]))
    curve = Curve.of(data)
    assert data.unknown == 2
    assert curve.thresholds.tolist() == [NEVER, 0.6, 0.3]
    assert curve.share.tolist() == [0.5, 0.75, 1.0]
    all_unknown = Curve.of(boundary(np.zeros(2), np.ones(2), np.full(2, math.nan)))
    assert (all_unknown.thresholds.tolist(), all_unknown.quality.tolist()) == ([NEVER], [1.0])


def test_records_become_arrays() -> None:
    prompts = [
        prompt("a", answer(0.0, e2e_s=1.0, ttft_s=0.5), answer(1.0, e2e_s=3.0, ttft_s=None), "Facts"),
        prompt("b", answer(1.0), answer(0.5), "Code"),
    ]
    data = BoundaryData.of(prompts, WEAK, STRONG, np.array([0.8, 0.1]), tried_s=np.ones(2), extra_s=0.25)
    assert (data.ids, data.categories) == (("a", "b"), ("Facts", "Code"))
    assert data.weak_score.tolist() == [0.0, 1.0]
    assert data.up_cost.tolist() == [4.25, 2.25]
    # an answer without a token is there when it ends
    assert data.strong_ttft_s.tolist() == [3.0, 0.25]
    with pytest.raises(RecordedPairsError, match="“c” has no scored answer of large@int4"):
        BoundaryData.of([prompt("c", answer(), answer(None))], WEAK, STRONG, np.zeros(1), tried_s=0.0)
    with pytest.raises(RecordedPairsError, match="no prompt"):
        BoundaryData.of([], WEAK, STRONG, np.zeros(0), tried_s=0.0)
