"""Three tiers on recorded prompts: their figures, and profiles made of two."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.router.choosing.ladder import LadderStudy, continues, join, ladder_figures
from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from engine.cascade import (
    KeepQuality,
    LadderFigures,
    RiskAtMost,
    RouterProfile,
    SpendAtMost,
    Target,
    ThresholdFigures,
    half_rows,
    select_ladder,
)
from engine.errors import RecordedPairsError, RouterProfileError
from engine.types import NEVER
from tests.support.cascade import STRONG, WEAK, answer, boundary, prompt, recorded, simulated

LARGEST = "largest@int4"
PROMPTS = tuple(
    replace(
        each,
        answers={
            WEAK: each.answers[WEAK],
            STRONG: answer(each.answers[STRONG].score, (-0.05 - 0.01 * (n % 9),) * 12, e2e_s=4.0, ttft_s=0.75),
            LARGEST: answer(1.0 if n % 20 else 0.0, (-0.05,) * 12, e2e_s=9.0),
        },
    )
    for n, each in enumerate(recorded(240, strong=0.75))
)
WEIGHTS = {WEAK: "a" * 64, STRONG: "b" * 64, LARGEST: "c" * 64}
TODAY = date(2026, 3, 14)


def profile(weak: str, strong: str, threshold: float, choice: Choice = Choice.ESCALATE) -> RouterProfile:
    return Study.of(PROMPTS, weak, strong, choice).profile(f"{weak} up", threshold, WEIGHTS, "d" * 64, TODAY)


def test_a_ladder_of_two_is_a_boundary() -> None:
    data = simulated(300)
    ladder, figures = LadderFigures.of([data], [0.4]), ThresholdFigures.of(data, 0.4)
    assert ladder.quality == figures.quality
    assert ladder.cost.value == pytest.approx(figures.cost.value)
    assert ladder.cost_share is not None
    assert figures.cost_share is not None
    assert ladder.cost_share.value == pytest.approx(figures.cost_share.value)
    assert ladder.missed == figures.missed
    assert ladder.shares[1].value == pytest.approx(figures.share.value)
    assert ladder.ttft_s.value == pytest.approx(figures.ttft_s.value)
    untried = replace(data, tried_cost=np.zeros(300))
    assert LadderFigures.of([untried], [0.4]).ttft_s.value == pytest.approx(
        ThresholdFigures.of(untried, 0.4).ttft_s.value
    )


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 1.0])] * 3, st.floats(0, 1), st.floats(0, 1)), min_size=1),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0])),
)
def test_every_prompt_pays_for_its_way_up(
    rows: list[tuple[float, ...]], thresholds: tuple[float, float], tried: tuple[float, float]
) -> None:
    small, middle, large, low, high = map(np.array, zip(*rows, strict=True))
    boundaries = [boundary(small, middle, low, tried=tried[0]), boundary(middle, large, high, tried=tried[1])]
    boundaries[1] = replace(boundaries[1], weak_cost=np.full(len(rows), 4.0), strong_cost=np.full(len(rows), 9.0))
    found = LadderFigures.of(boundaries, thresholds)
    costs, scores = [], []
    for row in rows:
        if row[3] < thresholds[0]:
            costs.append(1.0)
            scores.append(row[0])
        elif row[4] < thresholds[1]:
            costs.append(tried[0] + 4.0)
            scores.append(row[1])
        else:
            costs.append(sum(tried) + 9.0)
            scores.append(row[2])
    assert found.cost.value == pytest.approx(np.mean(costs))
    assert found.quality.value == pytest.approx(np.mean(scores))
    assert sum(share.value for share in found.shares) == pytest.approx(1.0)


def test_boundaries_of_other_prompts_make_no_ladder() -> None:
    with pytest.raises(ValueError, match="same prompts"):
        LadderFigures.of([simulated(10), replace(simulated(10), ids=tuple("abcdefghij"))], [0.5, 0.5])


def test_two_profiles_become_one_of_three_tiers() -> None:
    lower, upper = profile(WEAK, STRONG, 0.3), profile(STRONG, LARGEST, 0.6)
    assert continues(lower, upper)
    assert not continues(upper, lower)
    joined = join("Three", lower, upper, PROMPTS, TODAY)
    assert [tier.model for tier in joined.ladder] == ["small", "large", "largest"]
    assert [router.threshold for router in joined.boundaries] == [0.3, 0.6]
    assert RouterProfile.from_dict(joined.to_dict()) == joined
    found = ladder_figures(joined, PROMPTS)
    assert found.prompts == 120
    assert joined.figures["quality"] == found.quality.value
    # nothing goes above the middle tier: the ladder is the lower pair
    closed = replace(joined, boundaries=(lower.boundaries[0], replace(upper.boundaries[0], threshold=NEVER)))
    assert ladder_figures(closed, PROMPTS).quality.value == lower.figures["quality"]


def test_what_taught_a_router_does_not_report() -> None:
    choice = Choice.ESCALATE_LEARNED
    joined = join("Learned", profile(WEAK, STRONG, 0.3, choice), profile(STRONG, LARGEST, 0.6, choice), PROMPTS, TODAY)
    assert ladder_figures(joined, PROMPTS).prompts == 80


def test_profiles_that_do_not_continue_each_other_are_refused() -> None:
    lower, upper = profile(WEAK, STRONG, 0.3), profile(STRONG, LARGEST, 0.6)
    for other in (lower, replace(upper, data_sha256="e" * 64), profile(STRONG, LARGEST, 0.6, Choice.ROUTE_LEARNED)):
        with pytest.raises(RouterProfileError, match="make no ladder"):
            join("No", lower, other, PROMPTS, TODAY)
    with pytest.raises(RecordedPairsError, match="record the missing ones first"):
        join("No", lower, upper, [prompt("a", answer(), answer()), *PROMPTS], TODAY)
    with pytest.raises(RecordedPairsError, match="Too few prompts"):
        join("No", lower, upper, PROMPTS[:1], TODAY)


# --- thresholds chosen at once --------------------------------------------------------------------


def ladder(choice: Choice = Choice.ESCALATE) -> LadderStudy:
    return LadderStudy.of(PROMPTS, (WEAK, STRONG, LARGEST), choice)


@pytest.mark.parametrize("target", [KeepQuality(0.9), SpendAtMost(0.8), RiskAtMost(0.1)])
def test_both_thresholds_are_chosen_on_one_half_and_reported_on_the_other(target: Target) -> None:
    study = ladder()
    found = select_ladder(study.boundaries, target)
    chose, reports = ([boundary.rows(rows) for boundary in study.boundaries] for rows in half_rows(study.lower.data))
    assert found.test == LadderFigures.of(reports, found.thresholds)
    assert found.calibration == LadderFigures.of(chose, found.thresholds)
    naive = LadderFigures.of(chose, found.naive_thresholds)
    assert naive.quality_kept is not None
    assert naive.cost_share is not None
    match target:
        case KeepQuality(share):
            assert naive.quality_kept.value >= share - 1e-9
        case SpendAtMost(share):
            assert naive.cost_share.value <= share + 1e-9
        case RiskAtMost(alpha):
            assert naive.missed.value <= alpha
    # no pair of one boundary alone is better: they are among those searched
    if isinstance(target, KeepQuality):
        for pair in ((0.0, found.naive_thresholds[1]), (found.naive_thresholds[0], NEVER)):
            other = LadderFigures.of(chose, pair)
            assert other.quality_kept is not None
            assert other.quality_kept.value < target.share or other.cost.value >= naive.cost.value - 1e-9


def test_a_pair_that_is_promised_is_more_careful_than_the_naive_one() -> None:
    found = select_ladder(ladder().boundaries, KeepQuality(0.7))
    assert found.promise.shown
    assert found.calibration.quality_kept is not None
    assert found.calibration.quality_kept.value > 0.7
    assert found.test.cost.value > found.naive.cost.value


def test_too_few_prompts_leave_the_naive_pair_and_say_so() -> None:
    few = LadderStudy.of(PROMPTS[:24], (WEAK, STRONG, LARGEST), Choice.ESCALATE)
    found = select_ladder(few.boundaries, KeepQuality(0.95))
    assert not found.promise.shown
    assert found.thresholds == found.naive_thresholds


@pytest.mark.parametrize("choice", [Choice.ESCALATE, Choice.ROUTE_LEARNED, Choice.HYBRID_LEARNED])
def test_a_ladder_of_one_router_becomes_a_profile_whose_figures_are_those_reported(choice: Choice) -> None:
    study = ladder(choice)
    found = select_ladder(study.boundaries, KeepQuality(0.9))
    made = study.profile("Three", found, WEIGHTS, "d" * 64, TODAY)
    assert [tier.model for tier in made.ladder] == ["small", "large", "largest"]
    assert tuple(router.threshold for router in made.boundaries) == found.thresholds
    assert made.promise == found.promise
    assert made.figures["quality"] == found.test.quality.value
    assert made.figures["quality"] == ladder_figures(made, PROMPTS).quality.value
    assert RouterProfile.from_dict(made.to_dict()) == made


def test_the_evidence_of_a_ladder_says_how_much_leaves_the_smallest_tier() -> None:
    found = ladder(Choice.ESCALATE)
    selection = select_ladder(found.boundaries, KeepQuality(0.9))
    share, smallest = found.evidence(selection, {}).figures["share"], selection.test.shares[0]
    assert share.value == pytest.approx(1 - smallest.value)
    assert (share.low, share.high) == pytest.approx((1 - smallest.high, 1 - smallest.low))


def test_two_precisions_of_one_model_are_tiers() -> None:
    tiers = ("one@int4", "one@int8", "one@bf16")
    prompts = [
        replace(each, answers=dict(zip(tiers, (each.answers[tier] for tier in (WEAK, STRONG, LARGEST)), strict=True)))
        for each in PROMPTS
    ]
    study = LadderStudy.of(prompts, tiers, Choice.ESCALATE)
    found = select_ladder(study.boundaries, KeepQuality(0.9))
    made = study.profile("One", found, dict.fromkeys(tiers, "a" * 64), "d" * 64, TODAY)
    assert [tier.precision.value for tier in made.ladder] == ["int4", "int8", "bf16"]
    pair = Study.of(prompts, tiers[0], tiers[2], Choice.ESCALATE)
    assert pair.profile("Pair", 0.5, dict.fromkeys(tiers, "a" * 64), "d" * 64, TODAY).boundaries[0].threshold == 0.5


def test_prompts_that_one_of_the_three_did_not_answer_are_left_out() -> None:
    lacking = [prompt("a", answer(), answer()), *PROMPTS]
    assert "a" not in LadderStudy.of(lacking, (WEAK, STRONG, LARGEST), Choice.ESCALATE).lower.data.ids
    with pytest.raises(RecordedPairsError, match="all of"):
        LadderStudy.of(lacking[:1], (WEAK, STRONG, LARGEST), Choice.ESCALATE)


def test_one_prompt_makes_a_ladder_that_promises_nothing() -> None:
    one = LadderStudy.of(PROMPTS[:1], (WEAK, STRONG, LARGEST), Choice.ESCALATE)
    for target in (KeepQuality(0.95), SpendAtMost(0.5), RiskAtMost(0.1)):
        assert select_ladder(one.boundaries, target).test.prompts == 1
