"""Runs that people made: rated ones as recorded pairs, conversations as a router would have seen them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.lab import RouterLab
from app.router.operation.live import cascade_scores, conversation_scores, rated_prompts, tier_runs
from app.router.recorded.data_sets import RATED
from app.store import Rating, RunOutcome, RunSource, RunStatus, RunStore, Timeline
from engine.cascade import BoundaryRouter
from engine.types import (
    Backend,
    CascadeConfig,
    CascadeReport,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    Tier,
    TokenEvent,
)
from tests.support.cascade import STRONG, WEAK, recorded
from tests.support.cascading import make_cascade_report
from tests.support.fakes import make_metrics, make_request


def add_run(
    store: RunStore,
    tier: str,
    prompt: str = "Why?",
    *,
    rating: Rating = 0,
    logprob: float = -0.5,
    weights: str = "w",
    system: str | None = None,
    cascade: CascadeReport | None = None,
    gear: CascadeConfig | None = None,
    source: RunSource = RunSource.PLAYGROUND,
) -> str:
    """A finished run of a tier, three tokens long."""
    model, _, precision = tier.partition("@")
    request = make_request(prompt, model=model, precision=Precision(precision), system=system, cascade=gear)
    run_id = store.create_run(request, person_id="s", environment={"weights_sha256": weights}, source=source)
    tokens = [TokenEvent(100 + n, "word ", 0.1 + 0.01 * n, logprob, 1.0) for n in range(3)]
    outcome = RunOutcome(
        RunStatus.FINISHED,
        "word word word",
        finish_reason="stop",
        metrics=make_metrics(completion_tokens=3),
        cascade=cascade,
    )
    store.finish_run(run_id, outcome, Timeline.from_events(tokens))
    store.rate(run_id, rating)
    return run_id


def study(choice: Choice = Choice.ESCALATE) -> Study:
    return Study.of(recorded(150), WEAK, STRONG, choice)


# --- rated runs -----------------------------------------------------------------------------------


def test_rated_runs_of_two_tiers_make_pairs(store: RunStore, tmp_path: Path) -> None:
    lab = RouterLab(store, tmp_path)
    add_run(store, WEAK)
    assert lab.names() == {}
    add_run(store, WEAK, rating=-1)
    add_run(store, STRONG, rating=1)
    assert lab.names() == {RATED: "Runs you rated"}
    data = lab.data_set(RATED)
    (prompt,) = data.prompts
    assert prompt.prompt == "Why?"
    assert {tier: answer.score for tier, answer in prompt.answers.items()} == {WEAK: 0.0, STRONG: 1.0}
    assert prompt.answers[WEAK].logprobs == (-0.5,) * 3
    assert data.weights == {WEAK: "w", STRONG: "w"}
    add_run(store, WEAK, "How?", rating=1)
    assert len(lab.data_set(RATED).prompts) == 2


def test_of_several_ratings_the_latest_counts_and_old_weights_do_not(store: RunStore) -> None:
    add_run(store, WEAK, rating=1)
    add_run(store, WEAK, "How?", rating=1, weights="old")
    add_run(store, WEAK, rating=-1)
    add_run(store, WEAK, "With a system", rating=1, system="Be brief.")
    prompts, weights = rated_prompts(store)
    assert {prompt.prompt: prompt.answers[WEAK].score for prompt in prompts} == {"Why?": 0.0}
    assert weights == {WEAK: "w"}


def test_live_answers_are_the_tiers_own_finished_runs(store: RunStore) -> None:
    add_run(store, STRONG)
    add_run(store, WEAK, "First?")
    add_run(store, WEAK, "Second?", logprob=-2.0)
    found = [prompt for _, prompt in tier_runs(store, WEAK)]
    assert [prompt.prompt for prompt in found] == ["Second?", "First?"]
    assert [prompt.answers[WEAK].logprobs[0] for prompt in found] == [-2.0, -0.5]
    assert found[0].answers[WEAK].score is None


def test_what_a_lab_asked_is_not_live_but_a_thumb_on_it_counts(store: RunStore) -> None:
    add_run(store, WEAK, "Of a lab?", source=RunSource.LAB, rating=1)
    add_run(store, WEAK, "Of a person?")
    assert [prompt.prompt for _, prompt in tier_runs(store, WEAK)] == ["Of a person?"]
    assert [prompt.prompt for prompt in rated_prompts(store)[0]] == ["Of a lab?"]


@pytest.mark.parametrize("logprob", [math.nan, math.inf, -math.inf])
def test_a_figure_that_was_not_finite_leaves_a_run_without_a_score(store: RunStore, logprob: float) -> None:
    add_run(store, WEAK, logprob=logprob)
    ((_, prompt),) = tier_runs(store, WEAK)
    assert all(map(math.isnan, prompt.answers[WEAK].logprobs))
    assert np.isnan(study().scores_of([prompt])).all()


# --- conversations --------------------------------------------------------------------------------


def test_what_a_cascade_answered_is_no_tiers_own(store: RunStore) -> None:
    add_run(store, STRONG, rating=1, cascade=make_cascade_report(went_up=False))
    assert rated_prompts(store) == ((), {})
    assert tier_runs(store, STRONG) == ()


def test_what_a_cascade_scored_counts_for_the_router_that_scored_it(store: RunStore) -> None:
    looked, learned = study(), study(Choice.ESCALATE_LEARNED)
    small = Tier.from_key(WEAK)
    made = learned.profile("Careful", 0.4, {WEAK: "a" * 64, STRONG: "b" * 64}, "", date(2026, 3, 14))
    by_profile = CascadeConfig(smaller=(small,), thresholds=(0.4,), profile=json.dumps(made.to_dict()))
    report = make_cascade_report(large="large int4")
    attempt = replace(report.attempts[0], tier=str(small))
    for gear in (CascadeConfig(smaller=(small,), thresholds=(0.3,)), by_profile):
        for threshold in (0.2, 0.9):
            add_run(
                store,
                STRONG,
                cascade=replace(report, attempts=(replace(attempt, answer_score=threshold), report.attempts[1])),
                gear=gear,
            )
    three = CascadeConfig(smaller=(Tier.from_key("tiny@int4"), small), thresholds=(0.3, 0.3))
    add_run(store, STRONG, cascade=replace(report, attempts=(attempt, report.attempts[1])), gear=three)
    early = CascadeConfig(smaller=(small,), thresholds=(0.3,), after_tokens=4)
    add_run(store, STRONG, cascade=replace(report, attempts=(attempt, report.attempts[1])), gear=early)
    add_run(store, STRONG)
    assert sorted(cascade_scores(store, looked).scores) == [0.2, 0.9]
    assert sorted(cascade_scores(store, learned).scores) == [0.2, 0.9]
    assert cascade_scores(store, study(Choice.ROUTE_LEARNED)).at == ()


def test_what_a_hybrid_decided_by_the_prompt_scores_as_in_the_lab(store: RunStore) -> None:
    hybrid = study(Choice.HYBRID_LEARNED)
    assert hybrid.router.band is not None
    made = hybrid.profile("Both", 0.4, {WEAK: "a" * 64, STRONG: "b" * 64}, "", date(2026, 3, 14))
    small = Tier.from_key(WEAK)
    gear = CascadeConfig(
        smaller=(small,), router=RouterKind.HYBRID, thresholds=(0.4,), profile=json.dumps(made.to_dict())
    )
    report = make_cascade_report(large="large int4")
    attempt = replace(report.attempts[0], tier=str(small))
    for prompt_score, answer_score in ((hybrid.router.band.up_from, None), (0.0, None), (0.5, 0.7)):
        scored = replace(attempt, prompt_score=prompt_score, answer_score=answer_score)
        add_run(store, STRONG, cascade=replace(report, attempts=(scored, report.attempts[1])), gear=gear)
    assert sorted(cascade_scores(store, hybrid).scores) == [0.0, 0.7, 1.0]


def test_a_router_that_looks_at_hidden_states_cannot_score_kept_conversations(store: RunStore) -> None:
    seen = [
        replace(each, answers={**each.answers, WEAK: replace(each.answers[WEAK], hidden=(float(n % 7), 1.0))})
        for n, each in enumerate(recorded(150))
    ]
    looked = Study.of(seen, WEAK, STRONG, Choice.READ_LEARNED)
    assert looked.sees_hidden
    talk(store, [("Why?", WEAK, -0.1)])
    assert conversation_scores(store, looked) == []
    # where only some answers have one, it is left out, and every prompt gets a score
    mixed = Study.of([*seen[:100], *recorded(150)[100:]], WEAK, STRONG, Choice.READ_LEARNED)
    assert not mixed.sees_hidden
    assert mixed.data.unknown == 0
    assert len(conversation_scores(store, mixed)) == 1


def talk(store: RunStore, turns: Sequence[tuple[str, str, float]]) -> None:
    """A conversation: of each turn the prompt, the tier that answered, and how sure it was."""
    config = RunConfig(model="small", backend=Backend.LOCAL, optimization=OptimizationConfig.at(Precision.INT8))
    conversation = store.chat.create("A talk", config.to_dict())
    parent: str | None = None
    for prompt, tier, logprob in turns:
        run_id = add_run(store, tier, prompt, logprob=logprob)
        asked = store.chat.append(conversation, parent, "user", prompt)
        parent = store.chat.append(conversation, asked, "assistant", "word", token_ids=(1,), run_id=run_id)


def test_turns_answered_by_the_small_tier_are_scored_by_their_answers(store: RunStore) -> None:
    talk(store, [("Why?", WEAK, -0.1), ("And then?", WEAK, -2.0)])
    talk(store, [("Why?", WEAK, -0.1), ("And then?", STRONG, -2.0)])
    (scores,) = conversation_scores(store, study())
    assert scores == pytest.approx([1 - math.exp(-0.1), 1 - math.exp(-2.0)])


def test_a_router_that_looks_at_prompts_can_score_every_conversation(store: RunStore) -> None:
    talk(store, [("Why?", STRONG, -0.1), ("And then, very very much later on?", STRONG, -2.0)])
    (scores,) = conversation_scores(store, study(Choice.ROUTE_LEARNED))
    assert len(scores) == 2
    assert scores[0] != scores[1]
    assert conversation_scores(store, study(Choice.ORACLE)) == []


def test_without_conversations_nothing_is_scored(store: RunStore) -> None:
    looked = study()
    assert isinstance(looked.router, BoundaryRouter)
    assert conversation_scores(store, looked) == []
