"""The score functions, and what they do where nothing can be learned or known."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cascade.routing.scores import (
    MIN_PROMPTS,
    NEVER,
    REGULARISATION,
    LogisticWeights,
    SureBand,
    answering_tier,
    default_answer_score,
    default_prompt_score,
    escalates,
    hybrid_score,
    learn,
    needs_larger,
    oracle_score,
    random_score,
)
from engine.cascade.routing.signals import FeatureTable, answer_table, prompt_table, reading_table
from engine.errors import RouterProfileError
from tests.support.cascade import answer


def table(prompts: int, seed: int = 0) -> tuple[FeatureTable, np.ndarray]:
    """A feature that tells, one that does not, one that never changes; and the label."""
    rng = np.random.default_rng(seed)
    needed = rng.random(prompts) < 0.4
    telling = needed + rng.normal(0, 0.5, prompts)
    values = np.column_stack([telling, rng.normal(0, 1, prompts), np.ones(prompts)])
    return FeatureTable(names=("telling", "noise", "constant"), values=values), needed


def test_the_default_is_one_minus_the_geometric_mean_probability() -> None:
    scores = default_answer_score(answer_table([answer(logprobs=(math.log(0.9), math.log(0.4))), answer(logprobs=())]))
    assert scores[0] == pytest.approx(1 - math.sqrt(0.9 * 0.4))
    assert math.isnan(scores[1])


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(-40, 0), min_size=1, max_size=5).map(tuple), min_size=1, max_size=5))
def test_the_default_is_a_score_whatever_the_answer(logprobs: list[tuple[float, ...]]) -> None:
    scores = default_answer_score(answer_table([answer(logprobs=values) for values in logprobs]))
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_prompt_alone_tells_nothing_without_data() -> None:
    assert default_prompt_score(prompt_table(["Hi", "Prove it."])).tolist() == [0.5, 0.5]
    read = [answer(logprobs=(0.0,)), answer(logprobs=(-1.0,))]  # of an entropy of 0 and of 2 nats
    scores = default_prompt_score(reading_table(["a", "b"], read))
    assert scores.tolist() == pytest.approx([0.0, 1 - math.exp(-2)])


def test_learning_finds_the_feature_that_tells() -> None:
    features, needed = table(400)
    learned = learn(features, needed)
    assert learned.weights is not None
    assert (learned.reason, learned.prompts, learned.left_out) == ("", 400, 0)
    assert learned.weights.features == ("telling", "noise")
    assert learned.weights.coef[0] > 5 * abs(learned.weights.coef[1])
    fresh, truth = table(400, seed=1)
    scores = learned.weights.score(fresh)
    assert scores[truth].mean() > scores[~truth].mean() + 0.3
    # the scores are probabilities of need
    assert scores.mean() == pytest.approx(truth.mean(), abs=0.06)


def test_plain_weights_score_as_scikit_learn_does() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    features, needed = table(200)
    learned = learn(features, needed)
    assert learned.weights is not None
    scaled = StandardScaler().fit_transform(features.values[:, :2])
    theirs = [
        LogisticRegression(C=c, max_iter=1000).fit(scaled, needed).predict_proba(scaled)[:, 1] for c in REGULARISATION
    ]
    assert any(learned.weights.score(features) == pytest.approx(each, abs=2e-3) for each in theirs)


def test_weights_survive_json_and_apply_to_other_columns_in_other_order() -> None:
    features, needed = table(200)
    weights = learn(features, needed).weights
    assert weights is not None
    again = LogisticWeights.from_dict(json.loads(json.dumps(weights.to_dict())))
    assert again == weights
    turned = FeatureTable(names=features.names[::-1], values=features.values[:, ::-1])
    assert again.score(turned).tolist() == weights.score(features).tolist()


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 70))
def test_a_row_scores_the_same_to_the_last_bit_in_any_table(seed: int, rows: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(f"f{index}" for index in range(features))
    mean, scale, coef = (tuple(rng.uniform(0.1, 2, features).tolist()) for _ in range(3))
    weights = LogisticWeights(features=names, mean=mean, scale=scale, coef=coef, intercept=0.1)
    whole = FeatureTable(names=names, values=rng.normal(size=(rows, features)))
    alone = [weights.score(whole.rows(np.array([row])))[0] for row in range(rows)]
    np.testing.assert_array_equal(weights.score(whole), alone)


def test_an_unknown_feature_makes_the_score_unknown_and_leaves_the_prompt_out_of_learning() -> None:
    features, needed = table(200)
    features.values[:3, 0] = math.nan
    learned = learn(features, needed)
    assert (learned.prompts, learned.left_out) == (197, 3)
    assert learned.weights is not None
    scores = learned.weights.score(features)
    assert np.isnan(scores[:3]).all()
    assert np.isfinite(scores[3:]).all()


def test_a_feature_known_nowhere_costs_no_prompt() -> None:
    features, needed = table(200)
    features.values[:, 2] = math.nan
    assert learn(features, needed).left_out == 0


@pytest.mark.parametrize(
    ("prompts", "positives", "reason"),
    [
        (10, 4, "Only 10 prompts"),
        (0, 0, "Only 0 prompts"),
        (100, 0, "needed for no prompt"),
        (100, 100, "needed for every prompt"),
        (100, 3, "needed for only 3 of 100"),
        (100, 98, "not needed for only 2 of 100"),
    ],
)
def test_where_nothing_can_be_learned_it_is_said(prompts: int, positives: int, reason: str) -> None:
    values = np.random.default_rng(0).normal(size=(prompts, 2))
    learned = learn(FeatureTable(names=("a", "b"), values=values), np.arange(prompts) < positives)
    assert learned.weights is None
    assert reason in learned.reason


def test_signals_that_never_differ_teach_nothing() -> None:
    flat = FeatureTable(names=("a",), values=np.ones((MIN_PROMPTS * 2, 1)))
    assert "No signal differs" in learn(flat, np.arange(MIN_PROMPTS * 2) % 2 == 0).reason


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RouterProfileError, match="equally many"):
        LogisticWeights(features=("a",), mean=(0.0,), scale=(1.0,), coef=(1.0, 2.0), intercept=0.0)
    with pytest.raises(RouterProfileError, match="finite"):
        LogisticWeights(features=("a",), mean=(0.0,), scale=(0.0,), coef=(1.0,), intercept=0.0)


def test_nan_is_escalated_at_every_threshold() -> None:
    scores = np.array([0.2, math.nan, 0.7])
    assert escalates(scores, 0.7).tolist() == [False, True, True]
    assert escalates(scores, NEVER).tolist() == [False, True, False]


def test_chance_is_the_same_for_the_same_prompt_and_spread_evenly() -> None:
    prompts = [f"prompt {index}" for index in range(2000)]
    scores = random_score(prompts)
    assert scores.tolist() == random_score(prompts).tolist()
    assert scores[::-1].tolist() == random_score(prompts[::-1]).tolist()
    assert scores.tolist() != random_score(prompts, seed=1).tolist()
    assert np.histogram(scores, 4, (0, 1))[0].min() > 420


def test_the_label_and_the_oracle_compare_both_models() -> None:
    weak, strong = np.array([0.0, 0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0])
    assert needs_larger(weak, strong).tolist() == [True, False, False, False]
    assert oracle_score(weak, strong).tolist() == [1.0, 0.5, 0.5, 0.0]


def test_of_two_right_answers_the_better_one_is_not_needed() -> None:
    weak, strong = np.array([0.9, 0.4, 0.5, 0.2]), np.array([1.0, 1.0, 0.6, 0.4])
    assert needs_larger(weak, strong).tolist() == [False, True, True, False]


def test_a_hybrid_lets_the_prompt_decide_where_it_is_sure() -> None:
    band = SureBand(keep_below=0.2, up_from=0.8)
    score = hybrid_score(np.array([0.1, 0.2, 0.79, 0.8, math.nan]), np.array([0.9, 0.3, math.nan, 0.1, 0.1]), band)
    assert score[[0, 1, 3, 4]].tolist() == [0.0, 0.3, 1.0, 1.0]
    assert math.isnan(score[2])
    with pytest.raises(RouterProfileError, match="none"):
        SureBand(keep_below=0.9, up_from=0.1)


def test_the_first_tier_whose_boundary_does_not_escalate_answers() -> None:
    scores = np.array([[0.1, 0.9, 0.9, 0.1], [0.9, 0.1, 0.9, math.nan]])
    assert answering_tier(scores, [0.5, 0.5]).tolist() == [0, 1, 2, 0]


def test_importing_and_scoring_need_no_library_that_only_fitting_needs() -> None:
    program = """if True:
        import sys
        import numpy as np
        from engine.cascade import BoundaryData, Curve, FeatureTable, LogisticWeights, RouterProfile, select
        weights = LogisticWeights(features=("a",), mean=(0.0,), scale=(1.0,), coef=(1.0,), intercept=0.0)
        weights.score(FeatureTable(names=("a",), values=np.zeros((2, 1))))
        print({"sklearn", "scipy"} & set(sys.modules))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
