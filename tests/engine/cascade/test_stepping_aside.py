"""The guard in the engine: a tier that does not pay is passed over, told of, tried again, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from engine import Engine, list_models
from engine.types import (
    NEVER,
    CacheMode,
    CascadeConfig,
    CascadeReport,
    Escalated,
    GenerationRequest,
    Precision,
    RouterKind,
    RunFinished,
    Tier,
    TokenEvent,
)
from tests.engine.cascade.test_engine import INT8, LONG, SMALL, ask, cascade, events_of, report_of
from tests.engine.test_engine import finish
from tests.support.tiny import make_tiny_checkpoint

ENOUGH = 12
"""Tries that are all in vain, after which it has long stepped aside."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Random models: a new engine has seen no prompt."""
    make_tiny_checkpoint(tmp_path / "small", "qwen3", seed=1, max_position_embeddings=LONG)
    make_tiny_checkpoint(tmp_path / "middle", "qwen3", seed=2, hidden_size=96)
    make_tiny_checkpoint(
        tmp_path / "large", "llama", seed=3, hidden_size=128, intermediate_size=256, max_position_embeddings=LONG
    )
    engine = Engine(tmp_path)
    yield engine
    engine.close()


GUARDED = cascade(threshold=0.0, guard=True)


def many(engine: Engine, request: GenerationRequest, count: int = ENOUGH) -> list[CascadeReport]:
    return [report_of(finish(engine, request)) for _ in range(count)]


def is_passed_over(report: CascadeReport) -> bool:
    return report.attempts[0].passed_over


def test_where_nothing_stays_the_prompts_go_straight_on_and_it_is_told(engine: Engine) -> None:
    reports = many(engine, ask(GUARDED))
    assert not is_passed_over(reports[0])
    assert any(map(is_passed_over, reports))
    straight = next(report for report in reports if is_passed_over(report))
    assert [a.tier for a in straight.attempts] == ["small int4", "large int8"]
    assert straight.attempts[0].seconds == straight.discarded_tokens == 0
    assert straight.saved_s == 0
    assert not straight.derived
    (state,) = straight.guards
    assert state.stepped_aside
    assert not state.probing
    assert (state.tier, state.recent_share) == ("small int4", 0)
    assert state.probe_every
    assert CascadeReport.from_dict(json.loads(json.dumps(asdict(straight)))) == straight


def test_an_answer_that_comes_straight_is_the_large_models_own(engine: Engine) -> None:
    many(engine, ask(GUARDED))
    events = events_of(engine, ask(GUARDED))
    run = events[-1]
    assert isinstance(run, RunFinished)
    assert is_passed_over(report_of(run))
    assert run.token_ids == finish(engine, ask(None)).token_ids
    (escalated,) = [event for event in events if isinstance(event, Escalated)]
    assert escalated.passed_over
    assert (escalated.score, escalated.discarded_tokens) == (None, 0)
    assert {event.tier for event in events if isinstance(event, TokenEvent)} == {"large int8"}
    assert run.metrics is not None
    assert run.metrics.discarded_tokens == 0


def test_now_and_then_one_is_tried_again(engine: Engine) -> None:
    reports = many(engine, ask(GUARDED, max_tokens=4), 120)
    assert any(state.probing for report in reports for state in report.guards)
    tried = [not is_passed_over(report) for report in reports]
    assert sum(tried[20:]) < 40


def test_without_a_guard_every_prompt_is_tried(engine: Engine) -> None:
    many(engine, ask(GUARDED))
    reports = many(engine, ask(cascade(threshold=0.0)))
    assert not any(map(is_passed_over, reports))
    assert not any(report.guards for report in reports)


def test_rounds_of_one_prompt_are_neither_led_nor_learned_from(engine: Engine) -> None:
    rounds = replace(ask(GUARDED), unguarded=True)
    assert not any(map(is_passed_over, many(engine, rounds, 2 * ENOUGH)))
    (state,) = many(engine, ask(GUARDED), 1)[0].guards
    assert (state.decisions, state.recent) == (1, 0)
    many(engine, ask(GUARDED))
    assert not any(map(is_passed_over, many(engine, rounds, 3)))


def test_each_configuration_learns_by_itself(engine: Engine) -> None:
    many(engine, ask(GUARDED))
    other = cascade(threshold=0.01, guard=True)
    assert not is_passed_over(many(engine, ask(other), 1)[0])
    assert is_passed_over(many(engine, ask(GUARDED), 1)[0]), "whatever another one does"


@pytest.mark.parametrize(
    "gear",
    [
        cascade(RouterKind.ALWAYS_LARGE, 0.0, guard=True),
        cascade(RouterKind.ALWAYS_SMALL, NEVER, guard=True),
        cascade(RouterKind.RANDOM, 0.0, guard=True),
        cascade(threshold=NEVER, guard=True),
    ],
    ids=["always large", "always small", "random", "a threshold that nothing reaches"],
)
def test_yardsticks_and_tiers_that_are_to_keep_everything_are_not_guarded(engine: Engine, gear: CascadeConfig) -> None:
    reports = many(engine, ask(gear))
    assert not any(report.guards for report in reports)
    assert not any(attempt.passed_over for report in reports for attempt in report.attempts)


def test_a_conversation_that_keeps_its_tier_asks_no_guard(engine: Engine) -> None:
    gear = cascade(threshold=0.0, keep_tier=True, guard=True)
    many(engine, ask(gear))
    stays = report_of(finish(engine, ask(gear, last_tier="small int4")))
    assert [a.tier for a in stays.attempts] == ["small int4"]
    assert stays.guards == ()
    assert stays.derived
    assert stays.large_alone_s, "the large one has answered before"


def test_kept_kv_is_reused_by_the_tier_that_answers_straight(engine: Engine) -> None:
    warm = ask(GUARDED, cache_mode=CacheMode.PREFIX, cache_salt="me")
    many(engine, warm)
    run = finish(engine, warm)
    assert is_passed_over(report_of(run))
    assert run.metrics is not None
    assert run.metrics.cached_tokens > 0
    assert run.token_ids == finish(engine, ask(None)).token_ids


def test_of_three_tiers_each_smaller_one_has_its_guard(engine: Engine) -> None:
    gear = CascadeConfig(smaller=(SMALL, Tier(model="middle", precision=INT8)), thresholds=(0.0, 0.0))
    reports = many(engine, ask(gear), 3 * ENOUGH)
    straight = [report for report in reports if all(a.passed_over for a in report.attempts[:-1])]
    assert straight
    assert [state.tier for state in straight[0].guards] == ["small int4", "middle int8"]
    run = finish(engine, ask(gear))
    assert run.token_ids == finish(engine, ask(None)).token_ids


def test_where_the_large_model_is_not_there_nothing_is_passed_over(engine: Engine) -> None:
    gone = Tier(model="not-there", precision=INT8)
    reports = many(engine, ask(GUARDED, tier=gone))
    assert all([a.tier for a in report.attempts] == ["small int4"] for report in reports)
    assert not any(report.guards for report in reports)
    assert reports[-1].large_alone_s is None


def test_what_is_cancelled_teaches_nothing(engine: Engine) -> None:
    request = ask(GUARDED, max_tokens=LONG - 200)
    for _ in range(ENOUGH):
        generation = engine.generate(request)
        for event in generation:
            if isinstance(event, TokenEvent):
                generation.cancel()
        assert isinstance(event, RunFinished)
        assert event.finish_reason == "abort"
        report = report_of(event)
        assert not is_passed_over(report)
        assert report.large_alone_s is None
    (state,) = report_of(finish(engine, ask(GUARDED))).guards
    assert state.recent == 0


def test_what_the_large_model_alone_would_have_taken_is_measured_or_derived(engine: Engine) -> None:
    kept = report_of(finish(engine, ask(cascade(threshold=NEVER))))
    assert kept.derived
    assert kept.large_alone_s is not None, "from timed passes: the large one has not answered yet"
    assert kept.large_alone_s > 0
    assert kept.saved_s == pytest.approx(kept.large_alone_s - kept.attempts[0].seconds)
    up = report_of(finish(engine, ask(cascade(threshold=0.0))))
    assert not up.derived
    assert up.large_alone_s == pytest.approx(up.attempts[1].seconds)
    assert up.saved_s == pytest.approx(-up.attempts[0].seconds)


def test_a_plain_run_of_the_large_model_teaches_what_it_takes(engine: Engine) -> None:
    alone = ask(cascade(threshold=0.0, keep_tier=True), last_tier="small int4")  # the large one is not loaded for it
    assert report_of(finish(engine, alone)).large_alone_s is None
    finish(engine, ask(None))
    assert report_of(finish(engine, alone)).large_alone_s is not None


def test_reports_that_were_stored_before_say_nothing_of_it(engine: Engine) -> None:
    tree = json.loads(json.dumps(asdict(report_of(finish(engine, ask(GUARDED))))))
    for name in ("large_alone_s", "derived", "guards"):
        del tree[name]
    for attempt in tree["attempts"]:
        del attempt["passed_over"]
    old = CascadeReport.from_dict(tree)
    assert old.large_alone_s is old.saved_s is None
    assert (old.derived, old.guards) == (False, ())


@pytest.mark.slow
def test_with_real_models_it_steps_aside_probes_and_comes_back(models_dir: Path) -> None:
    """The small model is surest of one prompt and least sure of another; the threshold lies between the two."""
    large = Tier(model="qwen2.5-coder-0.5b", precision=Precision.INT4)
    if large.model not in [info.name for info in list_models(models_dir) if info.installed]:
        pytest.skip(f"{large.model} is not installed")
    small = Tier(model="smollm2-135m", precision=Precision.INT4)
    prompts = [
        "Count from 1 to 10 in digits, separated by commas.",
        "Name a river that few people know, and one reason why.",
        "Say hello.",
        "Which is the oddest word in this sentence?",
    ]
    engine = Engine(models_dir)
    try:

        def run(prompt: str, threshold: float, *, guard: bool) -> CascadeReport:
            gear = CascadeConfig(smaller=(small,), thresholds=(threshold,), guard=guard)
            return report_of(finish(engine, ask(gear, tier=large, prompt=prompt, max_tokens=24)))

        scores = {prompt: run(prompt, NEVER, guard=False).attempts[0].answer_score or 0.0 for prompt in prompts}
        sure, unsure = min(scores, key=scores.__getitem__), max(scores, key=scores.__getitem__)
        threshold = (scores[sure] + scores[unsure]) / 2

        up = [run(unsure, threshold, guard=True) for _ in range(40)]
        assert not is_passed_over(up[0])
        assert sum(map(is_passed_over, up)) > 20
        assert any(state.probing for report in up for state in report.guards)
        assert {report.tier for report in up} == {str(large)}

        back = [run(sure, threshold, guard=True) for _ in range(80)]
        first = next(report for report in back if not is_passed_over(report))
        assert any(state.probing for state in first.guards), "only a probe brings it back, how soon goes by the clock"
        assert not any(map(is_passed_over, back[-20:])), "it pays again"
        assert {report.tier for report in back[-20:]} == {str(small)}
        assert all(report.derived and (report.saved_s or 0) > 0 for report in back[-20:])
    finally:
        engine.close()
