"""Calibration against scikit-learn's figures and hand-made bins; drift where there is some and where there is none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.routing.calibration import MIN_LIVE, Reliability, ScoreReference, auroc, signal_strengths
from engine.cascade.routing.signals import FeatureTable
from engine.errors import RouterProfileError


def test_bins_and_errors_by_hand() -> None:
    score = np.array([0.05, 0.05, 0.95, 1.0, math.nan])
    needed = np.array([False, True, True, True, True])
    found = Reliability.of(score, needed)
    assert [(part.low, part.high, part.prompts, part.needed) for part in found.bins] == [
        (0.0, 0.1, 2, 0.5),
        (0.9, 1.0, 2, 1.0),
    ]
    assert found.ece == pytest.approx((2 * 0.45 + 2 * 0.025) / 4)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 0.05**2) / 4)
    assert found.left_out == 1


def test_scores_that_are_probabilities_are_calibrated() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(20_000)
    needed = rng.random(20_000) < score
    good, bad = Reliability.of(score, needed), Reliability.of(score**3, needed)
    assert good.ece is not None
    assert bad.ece is not None
    assert good.ece < 0.02 < 0.2 < bad.ece
    # a monotone map moves no rank
    assert good.auroc == pytest.approx(bad.auroc)


def test_without_scores_or_with_one_label_figures_are_undefined() -> None:
    nothing = Reliability.of(np.full(3, math.nan), np.ones(3, bool))
    assert (nothing.bins, nothing.ece, nothing.brier, nothing.auroc, nothing.left_out) == ((), None, None, None, 3)
    assert Reliability.of(np.array([0.1, 0.9]), np.ones(2, bool)).auroc is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.7]), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_scikit_learns(rows: list[tuple[float, bool]]) -> None:
    from sklearn.metrics import roc_auc_score

    values, needed = np.array([value for value, _ in rows]), np.array([label for _, label in rows])
    if needed.all() or not needed.any():
        assert auroc(values, needed) is None
    else:
        assert auroc(values, needed) == pytest.approx(roc_auc_score(needed, values))


def test_signals_are_ranked_in_the_direction_that_tells() -> None:
    rng = np.random.default_rng(0)
    needed = rng.random(500) < 0.5
    table = FeatureTable(
        names=("noise", "falls", "rises", "unknown"),
        values=np.column_stack(
            [rng.random(500), rng.random(500) - needed, rng.random(500) + needed / 2, [math.nan] * 500]
        ),
    )
    found = signal_strengths(table, needed)
    assert [(signal.name, signal.rises) for signal in found[:2]] == [("falls", False), ("rises", True)]
    assert found[0].auroc == pytest.approx(1.0)
    assert [signal.name for signal in found] == ["falls", "rises", "noise"]
    assert signal_strengths(table, np.ones(500, bool)) == ()


def reference(prompts: int = 1000) -> ScoreReference:
    return ScoreReference.of(np.random.default_rng(0).beta(2, 5, prompts))


def test_like_scores_warn_as_seldom_as_they_should() -> None:
    rng = np.random.default_rng(1)
    drifts = [reference().drift(rng.beta(2, 5, 200)) for _ in range(200)]
    assert sum(bool(drift.warning) for drift in drifts) <= 4
    assert np.mean([drift.outside for drift in drifts]) == pytest.approx(0.02, abs=0.01)


def test_other_scores_warn() -> None:
    drift = reference().drift(np.append(np.random.default_rng(1).beta(5, 2, 200), math.nan))
    assert drift.outside is not None
    assert drift.outside > 0.3
    assert (drift.live, drift.unknown) == (200, 1)
    assert "unlike those the threshold was chosen on" in drift.warning


def test_a_certain_but_tiny_difference_does_not_warn() -> None:
    live = np.random.default_rng(2).beta(2, 4.7, 100_000)
    drift = reference(100_000).drift(live)
    assert drift.ks_p_value is not None
    assert drift.ks_p_value < 1e-6
    assert drift.warning == ""


def test_a_few_live_scores_say_nothing_yet() -> None:
    assert reference().drift(np.ones(MIN_LIVE - 1)).warning == ""
    assert reference().drift(np.ones(MIN_LIVE)).warning
    none = reference().drift(np.full(50, math.nan))
    assert (none.live, none.outside, none.ks_statistic, none.unknown, none.warning) == (0, None, None, 50, "")


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 0.9]) | st.floats(0, 1), min_size=1, max_size=300),
    st.lists(st.sampled_from([0.0, 0.5, 0.9]) | st.floats(0, 1), min_size=1, max_size=60),
)
def test_the_distance_is_the_two_sample_one_up_to_the_quantiles(calibration: list[float], live: list[float]) -> None:
    from scipy.stats import ks_2samp

    kept = ScoreReference.of(np.array(calibration))
    theirs = ks_2samp(kept.quantiles, np.round(live, 6)).statistic
    ours = kept.drift(np.round(live, 6)).ks_statistic
    assert ours == pytest.approx(theirs, abs=0.0201)


def test_a_reference_survives_json_and_a_broken_one_is_refused() -> None:
    kept = reference()
    assert ScoreReference.from_dict(json.loads(json.dumps(kept.to_dict()))) == kept
    with pytest.raises(RouterProfileError, match="101 quantiles"):
        ScoreReference(quantiles=(0.0, 1.0), prompts=5)
    with pytest.raises(RouterProfileError, match="out of order"):
        ScoreReference(quantiles=kept.quantiles[::-1], prompts=5)
    with pytest.raises(RouterProfileError, match="No prompt has a score"):
        ScoreReference.of(np.full(3, math.nan))
