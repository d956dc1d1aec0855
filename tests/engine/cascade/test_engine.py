"""The gear in the engine: who answers, what is thrown away, what is told of it, and that nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.router.choosing.scoring import Choice, score_prompts
from engine import Engine
from engine.cascade import (
    BoundaryRouter,
    LogisticWeights,
    RoutedPrompt,
    RouterProfile,
    SureBand,
    TierIdentity,
    tier_answer,
)
from engine.errors import InvalidRequestError
from engine.types import (
    NEVER,
    CacheMode,
    CascadeConfig,
    CascadeReport,
    Drafter,
    Escalated,
    Event,
    GenerationRequest,
    KVDtype,
    Message,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
    Tier,
    TokenEvent,
)
from tests.engine.test_engine import failure, finish
from tests.support.tiny import make_tiny_checkpoint

INT8, INT4 = Precision.INT8, Precision.INT4
SMALL, LARGE = Tier(model="small", precision=INT4), Tier(model="large", precision=INT8)

LONG = 8192
"""Positions: an answer of so many tokens is not at its end before its reader cancels it."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Random models with one tokenizer; the largest has a twin."""
    folder = tmp_path_factory.mktemp("ladder")
    make_tiny_checkpoint(folder / "small", "qwen3", seed=1, max_position_embeddings=LONG)
    make_tiny_checkpoint(folder / "middle", "qwen3", seed=2, hidden_size=96)
    for name in ("large", "twin"):
        make_tiny_checkpoint(
            folder / name, "llama", seed=3, hidden_size=128, intermediate_size=256, max_position_embeddings=LONG
        )
    engine = Engine(folder)
    yield engine
    engine.close()


def cascade(router: RouterKind = RouterKind.ESCALATE, threshold: float = 0.5, **more: object) -> CascadeConfig:
    """Without a guard: what is asked of one prompt depends on none before it."""
    settings: dict[str, Any] = {"guard": False, **more}
    return CascadeConfig(smaller=(SMALL,), router=router, thresholds=(threshold,), **settings)


def ask(
    gear: CascadeConfig | None,
    *,
    tier: Tier = LARGE,
    speculation: SpeculationConfig | None = None,
    cache_mode: CacheMode = CacheMode.KV,
    kv_dtype: KVDtype = KVDtype.BF16,
    prompt: str = "Tell me something.",
    max_tokens: int = 16,
    **request: object,
) -> GenerationRequest:
    gears = OptimizationConfig.at(tier.precision, cache_mode, kv_dtype, None, speculation, gear)
    config = RunConfig(model=tier.model, optimization=gears, sampling=SamplingParams(max_tokens=max_tokens))
    return GenerationRequest(messages=(Message("user", prompt),), config=config, **request)  # type: ignore[arg-type]


def report_of(run: RunFinished) -> CascadeReport:
    assert run.cascade is not None
    return run.cascade


def events_of(engine: Engine, request: GenerationRequest) -> list[Event]:
    return list(engine.generate(request))


def test_an_answer_that_is_kept_is_the_small_models_own(engine: Engine) -> None:
    run = finish(engine, ask(cascade(threshold=NEVER)))
    assert run.token_ids == finish(engine, ask(None, tier=SMALL)).token_ids
    report = report_of(run)
    assert report.tier == "small int4"
    assert [attempt.kept for attempt in report.attempts] == [True]
    assert report.attempts[0].answer_score is not None
    assert report.discarded_tokens == 0


def test_an_answer_that_is_not_is_thrown_away_told_of_and_paid_for(engine: Engine) -> None:
    events = events_of(engine, ask(cascade(threshold=0.0)))
    run = events[-1]
    assert isinstance(run, RunFinished)
    assert run.token_ids == finish(engine, ask(None)).token_ids
    (escalated,) = [event for event in events if isinstance(event, Escalated)]
    place = events.index(escalated)
    before = [e for e in events[:place] if isinstance(e, TokenEvent)]
    after = [e for e in events[place:] if isinstance(e, TokenEvent)]
    assert {token.tier for token in before} == {"small int4"}
    assert {token.tier for token in after} == {"large int8"}
    assert escalated.discarded_tokens == len(before) == 16
    report, metrics = report_of(run), run.metrics
    assert metrics is not None
    assert metrics.discarded_tokens == report.discarded_tokens == 16
    assert metrics.completion_tokens == len(after)
    assert metrics.ttft_s == after[0].t > before[-1].t, "the first token of the answer that is kept"
    assert [a.tier for a in report.attempts] == ["small int4", "large int8"]
    assert report.attempts[0].token_ids == tuple(token.token_id for token in before)
    assert len(report.attempts[0].margins) == 16
    assert "".join(report.attempts[0].token_texts) == report.attempts[0].text
    assert sum(a.seconds for a in report.attempts) <= metrics.e2e_s + 0.5
    assert CascadeReport.from_dict(json.loads(json.dumps(asdict(report)))) == report


@pytest.mark.parametrize(
    ("router", "tier"),
    [(RouterKind.ALWAYS_SMALL, "small int4"), (RouterKind.ALWAYS_LARGE, "large int8")],
)
def test_the_yardsticks(engine: Engine, router: RouterKind, tier: str) -> None:
    run = finish(engine, ask(cascade(router)))
    assert report_of(run).tier == tier
    assert report_of(run).discarded_tokens == 0


def test_chance_sends_up_its_share(engine: Engine) -> None:
    prompts = [f"Question {n}" for n in range(40)]
    tiers = [
        report_of(finish(engine, ask(cascade(RouterKind.RANDOM, 0.3), prompt=p, max_tokens=1))).tier for p in prompts
    ]
    assert 20 <= tiers.count("large int8") <= 36
    again = finish(engine, ask(cascade(RouterKind.RANDOM, 0.3), prompt=prompts[4], max_tokens=1))
    assert report_of(again).tier == tiers[4]


@pytest.mark.parametrize(("threshold", "tier"), [(0.0, "large int8"), (NEVER, "small int4")])
def test_a_route_costs_one_token_of_the_small_model_at_most(engine: Engine, threshold: float, tier: str) -> None:
    run = finish(engine, ask(cascade(RouterKind.ROUTE, threshold)))
    assert report_of(run).tier == tier
    assert report_of(run).discarded_tokens == (1 if threshold == 0 else 0)
    assert report_of(run).attempts[0].prompt_score is not None
    wanted = finish(engine, ask(None, tier=LARGE if threshold == 0 else SMALL))
    assert run.token_ids == wanted.token_ids


def test_a_prompt_whose_answer_is_one_token_is_still_judged_as_a_prompt(engine: Engine) -> None:
    run = finish(engine, ask(cascade(RouterKind.ROUTE, 0.0), max_tokens=1))
    (small, _) = report_of(run).attempts
    assert small.prompt_score is not None
    assert small.answer_score is None
    longer = report_of(finish(engine, ask(cascade(RouterKind.ROUTE, 0.0)))).attempts[0]
    assert small.prompt_score == longer.prompt_score


def test_judged_by_its_first_tokens_little_is_thrown_away(engine: Engine) -> None:
    run = finish(engine, ask(cascade(threshold=0.0, after_tokens=4)))
    assert report_of(run).discarded_tokens == 4
    kept = finish(engine, ask(cascade(threshold=NEVER, after_tokens=4)))
    assert kept.token_ids == finish(engine, ask(None, tier=SMALL)).token_ids


def test_three_tiers(engine: Engine) -> None:
    middle = Tier(model="middle", precision=INT8)
    gear = CascadeConfig(smaller=(SMALL, middle), thresholds=(0.0, NEVER))
    run = finish(engine, ask(gear))
    assert [attempt.tier for attempt in report_of(run).attempts] == ["small int4", "middle int8"]
    assert run.token_ids == finish(engine, ask(None, tier=middle)).token_ids


@pytest.mark.parametrize(("low", "high"), [(INT4, Precision.BF16), (INT8, Precision.BF16), (INT4, INT8)])
@pytest.mark.parametrize("threshold", [0.0, NEVER])
def test_two_precisions_of_one_model_are_tiers(
    engine: Engine, low: Precision, high: Precision, threshold: float
) -> None:
    below, above = (Tier(model="large", precision=precision) for precision in (low, high))
    run = finish(engine, ask(CascadeConfig(smaller=(below,), thresholds=(threshold,)), tier=above))
    kept = above if threshold == 0.0 else below
    assert report_of(run).tier == str(kept)
    assert run.token_ids == finish(engine, ask(None, tier=kept)).token_ids


def test_the_small_answer_drafts_for_the_large_one_and_what_is_salvaged_is_counted(engine: Engine) -> None:
    """A twin says the very same; how much is drafted is fixed, not timed."""
    gear = CascadeConfig(smaller=(Tier(model="twin", precision=INT8),), thresholds=(0.0,))
    drafting = SpeculationConfig(drafter=Drafter.NGRAM, gamma=4)
    run = finish(engine, ask(gear, speculation=drafting, max_tokens=40))
    assert run.token_ids == finish(engine, ask(None, max_tokens=40)).token_ids
    assert run.metrics is not None
    assert report_of(run).salvaged_tokens == run.metrics.accepted_tokens >= 30


def test_a_missing_tier_is_passed_over_and_named(engine: Engine) -> None:
    gone = Tier(model="not-there", precision=INT4)
    run = finish(engine, ask(CascadeConfig(smaller=(gone,), thresholds=(0.5,))))
    assert report_of(run).tier == "large int8"
    assert "not-there" in report_of(run).unavailable[0]
    without_large = finish(engine, ask(cascade(threshold=0.0), tier=Tier(model="not-there-either", precision=INT8)))
    assert report_of(without_large).tier == "small int4"
    assert "not-there-either" in report_of(without_large).unavailable[0]
    nope = Tier(model="nope", precision=INT8)
    nobody = failure(engine, ask(CascadeConfig(smaller=(gone,), thresholds=(0.5,)), tier=nope))
    assert "No tier" in nobody.error


def test_a_conversation_stays_on_its_tier_if_asked(engine: Engine) -> None:
    gear = cascade(threshold=NEVER, keep_tier=True)
    first = finish(engine, ask(gear))
    assert report_of(first).tier == "small int4"
    stays = finish(engine, ask(gear, last_tier="large int8"))
    assert [attempt.tier for attempt in report_of(stays).attempts] == ["large int8"]
    other = finish(engine, ask(gear, last_tier="a model of another ladder"))
    assert report_of(other).tier == "small int4"
    free = finish(engine, ask(replace(gear, keep_tier=False), last_tier="large int8"))
    assert report_of(free).tier == "small int4"


def profile(engine: Engine, weights: str | None = None) -> RouterProfile:
    ladder = tuple(
        TierIdentity(
            model=tier.model, precision=tier.precision, weights_sha256=weights or engine.weights_sha256(tier.model)
        )
        for tier in (SMALL, LARGE)
    )
    from datetime import date

    return RouterProfile(
        name="mine",
        made_on=date(2026, 1, 1),
        kind=RouterKind.ESCALATE,
        ladder=ladder,
        boundaries=(BoundaryRouter(threshold=0.3),),
        data_sha256="",
        prompts=0,
        figures={},
    )


def test_a_profile_is_used_for_the_models_it_was_made_for_and_refused_for_others(engine: Engine) -> None:
    fits = json.dumps(profile(engine).to_dict())
    assert report_of(finish(engine, ask(cascade(threshold=0.0, profile=fits)))).tier == "large int8"
    other = json.dumps(profile(engine, "0" * 64).to_dict())
    failed = failure(engine, ask(cascade(threshold=0.0, profile=other)))
    assert failed.kind == "RouterProfileError"
    assert "Router lab" in failed.error
    wrong_kind = failure(engine, ask(cascade(RouterKind.ROUTE, 0.0, profile=fits)))
    assert wrong_kind.kind == "RouterProfileError"
    assert failure(engine, ask(cascade(profile="{"))).kind == "RouterProfileError"

    early = json.dumps(replace(profile(engine), after_tokens=4).to_dict())
    assert report_of(finish(engine, ask(cascade(threshold=0.0, profile=early, after_tokens=4)))).tier == "large int8"
    other_length = failure(engine, ask(cascade(threshold=0.0, profile=early)))
    assert "judges answers by their first 4 tokens, not whole answers" in other_length.error


@pytest.mark.parametrize("choice", [choice for choice in Choice if choice.learns])
@pytest.mark.parametrize("prompt", ["Tell me something.", "def add(left, right):"])
def test_the_engine_scores_as_the_lab_did(engine: Engine, choice: Choice, prompt: str) -> None:
    """A small answer that was recorded, and the same prompt asked of the cascade."""
    recorded = tier_answer(events_of(engine, ask(None, tier=SMALL, prompt=prompt)), lambda text: 1.0)
    assert recorded is not None
    pair = RoutedPrompt(prompt_id="p", category="c", prompt=prompt, answers={SMALL.key: recorded})
    router = BoundaryRouter(
        threshold=0.0,
        prompt_weights=weights(["log_words", *(["prefill_entropy", "hidden_3"] if choice.reads else [])]),
        answer_weights=weights(["mean_logprob", "repetition", "reached_eos", "first_max_entropy"]),
        band=SureBand(keep_below=0.0, up_from=NEVER) if choice.kind is RouterKind.HYBRID else None,
    )
    made = replace(profile(engine), kind=choice.kind, boundaries=(router,), after_tokens=choice.after_tokens)
    gear = cascade(choice.kind, 0.0, profile=json.dumps(made.to_dict()), after_tokens=choice.after_tokens)
    (small, _) = report_of(finish(engine, ask(gear, prompt=prompt))).attempts
    (score,), _ = score_prompts([pair], SMALL.key, SMALL.key, choice.kind, router, choice.after_tokens)
    live = small.prompt_score if choice.kind is RouterKind.ROUTE else small.answer_score
    assert live == pytest.approx(score, abs=1e-9)
    assert len(small.token_ids) == (1 if choice.reads else 0 if choice is Choice.ROUTE_LEARNED else 16)


def weights(features: list[str]) -> LogisticWeights:
    """Weights that tell every feature's value."""
    count = len(features)
    coef = tuple(0.3 + 0.1 * place for place in range(count))
    return LogisticWeights(
        features=tuple(features), mean=(0.1,) * count, scale=(1.5,) * count, coef=coef, intercept=-0.2
    )


def test_cancelled_in_the_small_answer_nobody_else_is_asked(engine: Engine) -> None:
    generation = engine.generate(ask(cascade(threshold=0.0), max_tokens=LONG - 200))
    told: list[Event] = []
    for event in generation:
        told.append(event)
        if isinstance(event, TokenEvent):
            generation.cancel()
    last = told[-1]
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"
    assert not any(isinstance(event, Escalated) for event in told)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    precision=st.sampled_from([INT8, INT4, Precision.NF4]),
    cache_mode=st.sampled_from([CacheMode.KV, CacheMode.PREFIX]),
    speculation=st.sampled_from([None, SpeculationConfig(), SpeculationConfig(drafter=Drafter.NGRAM, gamma=3)]),
    threshold=st.sampled_from([None, 0.0, 0.4, NEVER]),
    router=st.sampled_from([RouterKind.ESCALATE, RouterKind.ROUTE, RouterKind.RANDOM]),
    prompt=st.sampled_from(["Hi", "Say that again: one two one two one two", "def add(left, right):"]),
)
def test_any_gears_together_give_plain_decodings_tokens_of_the_tier_that_answers(
    engine: Engine,
    precision: Precision,
    cache_mode: CacheMode,
    speculation: SpeculationConfig | None,
    threshold: float | None,
    router: RouterKind,
    prompt: str,
) -> None:
    gear = None if threshold is None else cascade(router, threshold)
    tier = Tier(model="large", precision=precision)
    run = finish(
        engine,
        ask(gear, tier=tier, speculation=speculation, cache_mode=cache_mode, prompt=prompt, cache_salt="any"),
    )
    answered = tier if gear is None or report_of(run).tier.startswith("large") else SMALL
    assert run.token_ids == finish(engine, ask(None, tier=answered, prompt=prompt)).token_ids


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CascadeConfig(smaller=(), thresholds=()), "one or two"),
        (lambda: CascadeConfig(smaller=(SMALL, SMALL), thresholds=(0.1, 0.2)), "are the same"),
        (lambda: CascadeConfig(smaller=(SMALL,), thresholds=(0.1, 0.2)), "2 tiers need 1"),
        (lambda: CascadeConfig(smaller=(SMALL,), thresholds=(1.5,)), "between 0 and 1"),
        (lambda: cascade(RouterKind.ORACLE), "yardstick"),
        (lambda: cascade(RouterKind.ROUTE, after_tokens=4), "first tokens"),
        (lambda: ask(CascadeConfig(smaller=(LARGE,), thresholds=(0.5,))), "in front of itself"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(make: object, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        make()  # type: ignore[operator]


def test_a_gear_that_is_off_leaves_the_hash_as_it_was(tmp_path: Path) -> None:
    plain = ask(None).config
    assert "cascade" not in plain.canonical_json()
    on = ask(cascade()).config
    assert RunConfig.from_dict(json.loads(json.dumps(on.to_dict()))) == on
    assert on.hash != plain.hash
