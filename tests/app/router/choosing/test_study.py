"""A router between two tiers: what it learns from, what it reports on, and what it says where that fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from app.router.choosing.scoring import Choice, score_prompts
from app.router.choosing.study import Study, tier_identity
from engine.cascade import KeepQuality, RouterKind, RouterMetrics, ThresholdFigures, TierAnswer, half_rows, select
from engine.errors import RecordedPairsError, RouterProfileError
from engine.types import Precision
from tests.support.cascade import STRONG, WEAK, answer, prompt, recorded

PROMPTS = recorded(300)
WEIGHTS = {WEAK: "a" * 64, STRONG: "b" * 64}


def study(choice: Choice = Choice.ESCALATE, prompts: int = 300) -> Study:
    return Study.of(PROMPTS[:prompts], WEAK, STRONG, choice)


def test_a_router_without_data_reports_on_every_prompt() -> None:
    looked = study()
    assert len(looked.data) == len(looked.prompts) == 300
    assert (looked.learned_from, looked.reason) == (0, "")
    assert looked.data.tried.all()
    metrics = RouterMetrics.of(looked.data)
    assert metrics.apgr_area is not None
    assert metrics.apgr_area > 0.6


@pytest.mark.parametrize("choice", [choice for choice in Choice if choice.learns])
def test_what_was_learned_from_does_not_report(choice: Choice) -> None:
    looked = study(choice)
    assert looked.learned_from == 100
    assert len(looked.data) == 200
    assert tuple(prompt.prompt_id for prompt in looked.prompts) == looked.data.ids
    metrics = RouterMetrics.of(looked.data)
    assert metrics.apgr_area is not None
    assert metrics.apgr_area > 0.55
    # other labels on the reporting prompts change no weight
    others = [p if p.prompt_id not in looked.data.ids else _flipped(p.prompt_id) for p in PROMPTS]
    assert Study.of(others, WEAK, STRONG, choice).router == looked.router


def _flipped(name: str) -> object:
    known = next(p for p in PROMPTS if p.prompt_id == name)
    answers = {tier: replace(a, score=1.0 - (a.score or 0.0)) for tier, a in known.answers.items()}
    return replace(known, answers=answers)


def test_a_hybrid_lets_the_prompt_decide_at_both_ends() -> None:
    looked = study(Choice.HYBRID_LEARNED)
    assert looked.router.band is not None
    at_once = ~looked.data.tried
    assert 0 < at_once.mean() < 0.5
    assert (looked.data.router_score[at_once] == 1).all()


def test_who_goes_up_pays_for_as_much_as_the_small_model_had_done() -> None:
    """Made-up answers: 12 tokens in 1 s, the first after 0.25 s."""
    longer = [
        replace(each, answers={WEAK: _longer(each.answers[WEAK]), STRONG: each.answers[STRONG]}) for each in PROMPTS
    ]
    for choice, tried_s in (
        (Choice.ESCALATE_LEARNED, 1.0),
        (Choice.ESCALATE_EARLY, 0.25 + 0.75 * 15 / 23),
        (Choice.READ_LEARNED, 0.25),
        (Choice.ROUTE_LEARNED, 0.0),
    ):
        looked = Study.of(longer, WEAK, STRONG, choice)
        assert looked.router.reads_first is (choice is not Choice.ROUTE_LEARNED)
        np.testing.assert_allclose(looked.data.tried_cost, tried_s)
        assert looked.data.ttft_s(looked.data.up(0.0))[0] == pytest.approx(0.75 + tried_s, abs=0.05)


def _longer(small: TierAnswer) -> TierAnswer:
    twice = {name: getattr(small, name) * 2 for name in ("logprobs", "entropies", "margins")}
    return replace(small, completion_tokens=24, token_ids=tuple(range(24)), **twice)


def test_too_few_prompts_say_so_and_all_of_them_report() -> None:
    looked = study(Choice.ESCALATE_LEARNED, prompts=10)
    assert "learning needs at least 40" in looked.reason
    assert len(looked.data) == 10
    assert looked.router.answer_weights is None
    np.testing.assert_array_equal(looked.data.router_score, study(prompts=10).data.router_score)


@pytest.mark.parametrize("choice", [Choice.ESCALATE, *(choice for choice in Choice if choice.learns)])
def test_prompts_of_one_text_teach_choose_or_report_together(choice: Choice) -> None:
    prompts = [replace(each, prompt=f"Question {n // 2}?") for n, each in enumerate(PROMPTS)]
    looked = Study.of(prompts, WEAK, STRONG, choice)
    assert (looked.learned_from > 0) is choice.learns
    teaches = {each.prompt for each in prompts if each.prompt_id not in looked.data.ids}
    chooses = {looked.data.texts[row] for row in half_rows(looked.data)[0]}
    reports = {each.prompt for each in looked.reporting().prompts}
    assert teaches | chooses | reports == {each.prompt for each in prompts}
    assert len(teaches) + len(chooses) + len(reports) == 150
    assert abs(len(reports) - len(chooses)) <= 3


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("choice", [choice for choice in Choice if choice.learns])
def test_a_text_or_two_that_are_there_often_have_figures(choice: Choice, count: int) -> None:
    prompts = [replace(each, prompt=f"Question {n % count}?") for n, each in enumerate(PROMPTS)]
    looked = Study.of(prompts, WEAK, STRONG, choice)
    selection = select(looked.data, KeepQuality(0.9))
    assert selection.test.prompts > 0
    if count < 3:
        assert f"Only {count} prompts" in looked.reason
        assert len(looked.data) == 300


def test_labels_all_the_same_teach_nothing() -> None:
    same = [prompt(f"p{n}", answer(1.0), answer(1.0, e2e_s=4.0)) for n in range(200)]
    looked = Study.of(same, WEAK, STRONG, Choice.HYBRID_LEARNED)
    assert "nothing to tell apart" in looked.reason
    assert len(looked.data) == 200
    metrics = RouterMetrics.of(looked.data)
    assert metrics.apgr_area is None
    assert "score the same" in metrics.reason


def test_an_answer_without_tokens_has_no_score_and_goes_up() -> None:
    prompts = [*PROMPTS[:50], prompt("silent", answer(0.0, (), text=""), answer(1.0, e2e_s=4.0))]
    looked = Study.of(prompts, WEAK, STRONG, Choice.ESCALATE)
    assert looked.data.unknown == 1
    assert looked.data.up(2.0).tolist().count(True) == 1
    assert ThresholdFigures.of(looked.data, 2.0).unknown == 1


def test_prompts_that_one_tier_lacks_are_left_out_and_counted() -> None:
    lacking = replace(PROMPTS[0], answers={WEAK: PROMPTS[0].answers[WEAK]})
    unscored = prompt("open", answer(None), answer(None))
    looked = Study.of([lacking, unscored, *PROMPTS[1:60]], WEAK, STRONG, Choice.ESCALATE)
    assert (len(looked.data), looked.left_out) == (59, 2)
    with pytest.raises(RecordedPairsError, match="No prompt has an answer with a score of both"):
        Study.of([lacking, unscored], WEAK, STRONG, Choice.ESCALATE)


def test_the_oracle_is_at_least_as_good_and_chance_is_about_half() -> None:
    assert (RouterMetrics.of(study(Choice.ORACLE).data).apgr_area or 0) > (
        RouterMetrics.of(study().data).apgr_area or 1
    )
    assert RouterMetrics.of(study(Choice.CHANCE).data).apgr_area == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(study().with_oracle().router_score, study(Choice.ORACLE).data.router_score)


@pytest.mark.parametrize("choice", [choice for choice in Choice if choice not in (Choice.CHANCE, Choice.ORACLE)])
def test_a_profile_scores_as_the_study_did(choice: Choice) -> None:
    looked = study(choice)
    profile = looked.profile("Careful", 0.4, WEIGHTS, "d" * 64, date(2026, 3, 14))
    assert profile.kind is choice.kind
    assert profile.prompts == 300
    (router,) = profile.boundaries
    assert router.threshold == 0.4
    scores = score_prompts(looked.prompts, WEAK, WEAK, profile.kind, router, profile.after_tokens)[0]
    np.testing.assert_array_equal(scores, looked.data.router_score)
    half = half_rows(looked.data)[1]
    assert profile.figures["share"] == pytest.approx(looked.data.rows(half).up(0.4).mean())


def test_what_cannot_be_deployed_is_refused() -> None:
    with pytest.raises(RouterProfileError, match="oracle"):
        study(Choice.ORACLE).profile("No", 0.5, WEIGHTS, "", date(2026, 3, 14))
    with pytest.raises(RouterProfileError, match="does not say from which weights of small"):
        study().profile("No", 0.5, {}, "", date(2026, 3, 14))


def test_a_tier_is_known_by_its_key() -> None:
    tier = tier_identity("a@b@int4", {"a@b@int4": "c" * 64})
    assert (tier.model, tier.precision) == ("a@b", Precision.INT4)


def test_signals_are_those_of_answers_and_prompts() -> None:
    table = study().signals()
    assert len(table) == 300
    assert {"mean_logprob", "prompt: log_words"} <= set(table.names)
    assert study(Choice.CHANCE).choice.kind is RouterKind.RANDOM
