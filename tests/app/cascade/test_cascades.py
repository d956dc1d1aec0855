"""What is said of a cascade: true, and told apart."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cascade.cascades import JUDGING, cascade_name, profile_fits
from app.cascade.words import (
    alone_text,
    cascade_notices,
    contradiction,
    escalation,
    guard_notices,
    guard_words,
    habit,
    saved_text,
    threshold_meaning,
)
from app.runs.live_run import Phase
from app.runs.race import LaneRun
from app.runs.service import stream
from app.runs.verdict import UNMEASURED, judge
from app.store import Reports, RunStore
from app.views.runs.naming import configuration_name
from engine.cascade import BoundaryRouter, RouterProfile, SureBand, TierIdentity
from engine.cascade.routing.scores import default_answer_score
from engine.cascade.routing.signals import MEAN_LOGPROB, FeatureTable
from engine.types import (
    CacheMode,
    CacheReport,
    CascadeConfig,
    CascadeReport,
    Escalated,
    GuardState,
    MissCause,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    SpeculationConfig,
    Tier,
    TierAttempt,
)
from tests.support.cascading import CASCADE, SMALL, CascadingEngine, make_cascade_report
from tests.support.fakes import make_metrics, make_request

LARGE = Tier(model="m", precision=Precision.BF16)


tiers = st.builds(
    Tier,
    model=st.sampled_from(["smollm2-135m", "a folder/with spaces", "qwen"]),
    precision=st.sampled_from([Precision.INT4, Precision.BF16]),
)


@st.composite
def cascades(draw: st.DrawFn) -> CascadeConfig:
    smaller = tuple(draw(st.lists(tiers, min_size=1, max_size=2, unique=True)))
    router = draw(st.sampled_from([RouterKind.ESCALATE, RouterKind.ROUTE, RouterKind.RANDOM]))
    early = draw(st.none() | st.integers(1, 64)) if router is RouterKind.ESCALATE else None
    thresholds = tuple(draw(st.floats(0, 1)) for _ in smaller)
    return CascadeConfig(
        smaller=smaller, router=router, thresholds=thresholds, after_tokens=early, keep_tier=draw(st.booleans())
    )


def profile(kind: RouterKind = RouterKind.HYBRID) -> RouterProfile:
    band = SureBand(keep_below=0.2, up_from=0.8) if kind is RouterKind.HYBRID else None
    ladder = tuple(
        TierIdentity(model=tier.model, precision=tier.precision, weights_sha256="ab" * 32) for tier in (SMALL, LARGE)
    )
    return RouterProfile(
        name="Careful",
        made_on=date(2026, 1, 1),
        kind=kind,
        ladder=ladder,
        boundaries=(BoundaryRouter(threshold=0.42, band=band),),
        data_sha256="",
        prompts=0,
        figures={},
    )


def test_a_profile_is_told_by_its_name_and_fits_its_own_ladder() -> None:
    gear = replace(CASCADE, router=RouterKind.HYBRID, thresholds=(0.42,), profile=json.dumps(profile().to_dict()))
    assert cascade_name(gear, "m bf16").endswith("hybrid by “Careful”")
    assert profile_fits(profile(), gear, LARGE)
    assert not profile_fits(profile(), gear, replace(LARGE, precision=Precision.INT8))


@given(cascades(), cascades())
@settings(deadline=None)
def test_cascades_are_told_apart_by_their_names(one: CascadeConfig, other: CascadeConfig) -> None:
    rounded = [replace(gear, thresholds=tuple(round(t, 2) for t in gear.thresholds)) for gear in (one, other)]
    names = {cascade_name(gear, "m int4") for gear in rounded}
    assert len(names) == len(set(rounded))


def test_a_name_tells_the_ladder_the_router_and_the_other_gears() -> None:
    gears = OptimizationConfig.at(Precision.INT4, speculation=SpeculationConfig(), cascade=CASCADE)
    name = configuration_name("qwen2.5-coder-0.5b", "local", "int4", gears)
    assert name == "smollm2-135m int4 → qwen2.5-coder-0.5b int4, escalate at 0.30 · drafts: auto"


def test_a_name_says_only_where_a_cascade_never_steps_aside() -> None:
    assert cascade_name(replace(CASCADE, guard=False), "m int4").endswith("escalate at 0.30, never steps aside")


def guard_state(**changed: object) -> GuardState:
    figures: dict[str, Any] = {
        "tier": "s",
        "mode": "aside",
        "needed_share": 0.45,
        "recent_share": 0.2,
        "recent": 10,
        "decisions": 40,
        "probe_every": 16,
    }
    return GuardState(**{**figures, **changed})


def guarded_report(state: GuardState) -> CascadeReport:
    asked = state.mode != "aside"
    attempts = (
        TierAttempt(tier="s", kept=False, passed_over=not asked, seconds=0.4 * asked, threshold=0.3),
        TierAttempt(tier="l", kept=True, seconds=1.0),
    )
    return make_cascade_report(attempts=attempts, guards=(state,), large_alone_s=1.0)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (
            guard_state(),
            "Went straight to l: of the last 10 prompts 20 % stayed with s, and 45 % must for the cascade to pay. "
            "One in 16 still tries s.",
        ),
        (
            guard_state(mode="probing"),
            "Tried s once more: of the last 10 prompts 20 % stayed with s, and 45 % must for the cascade to pay.",
        ),
        (guard_state(needed_share=1.0, probe_every=None), "Went straight to l: s takes as long as l alone, or longer."),
        (guard_state(mode="trying", probe_every=None), ""),
    ],
)
def test_a_guard_says_what_it_did_and_why(state: GuardState, says: str) -> None:
    assert " ".join(guard_notices(guarded_report(state))) == says
    config = make_request(model="m", cascade=CASCADE).config
    assert says in " ".join(cascade_notices(guarded_report(state), None, None, None, config, later_turn=False))


def test_a_guard_in_a_few_words() -> None:
    assert guard_words(guard_state()) == "s: one in 16 tried; 20 % of the last 10 stayed, 45 % must"
    assert guard_words(guard_state(mode="trying", probe_every=None)).startswith("s: tried; 20 %")
    assert guard_words(guard_state(recent_share=None, recent=0)) == "s: one in 16 tried"


def test_a_prompt_that_goes_straight_on_is_told_of_while_it_does() -> None:
    event = Escalated(from_tier="s", to_tier="l", score=None, threshold=0.3, discarded_tokens=0, passed_over=True)
    assert escalation(event, RouterKind.ESCALATE) == "Straight to l: trying s has not paid lately."


def test_what_the_large_model_alone_takes_says_whether_it_is_derived() -> None:
    assert alone_text(3.2, derived=True) == "~3.20 s, derived"
    assert alone_text(3.2, derived=False) == "3.20 s"
    assert (saved_text(2.1), saved_text(-0.4)) == ("2.10 s saved", "400 ms lost")


@given(st.integers(0, 99), st.floats(0.001, 1))
@settings(deadline=None)
def test_the_probability_that_a_threshold_names_is_the_one_that_decides(percent: int, probability: float) -> None:
    table = FeatureTable(names=(MEAN_LOGPROB,), values=np.array([[math.log(probability)]]))
    score = float(default_answer_score(table)[0])
    words = threshold_meaning(RouterKind.ESCALATE, percent / 100, None)
    named = int(words.split("is ")[1].split()[0]) / 100
    if abs(probability - named) > 1e-9:
        assert (score >= percent / 100) == (probability < named)


def test_thresholds_in_words() -> None:
    assert "is 70 % or less" in threshold_meaning(RouterKind.ESCALATE, 0.3, None)
    assert "first 8 tokens" in threshold_meaning(RouterKind.ESCALATE, 0.3, 8)
    assert "0.69 nats or more" in threshold_meaning(RouterKind.ROUTE, 0.5, None)
    assert threshold_meaning(RouterKind.ROUTE, 1.0, None) == "No prompt goes on."
    assert "70 % of prompts" in threshold_meaning(RouterKind.RANDOM, 0.3, None)
    assert all(threshold_meaning(kind, 0.0, None) for kind in JUDGING)


@pytest.mark.parametrize(
    ("router", "score", "lost", "says"),
    [
        (RouterKind.ESCALATE, 0.62, 24, "s was not sure (score 0.62 ≥ 0.30): 24 tokens thrown away, asking l."),
        (RouterKind.ESCALATE, math.nan, 1, "s was not sure (no score could be told): 1 token thrown away, asking l."),
        (RouterKind.ROUTE, 0.4, 1, "The prompt looks too hard for s (score 0.40 ≥ 0.30): 1 token thrown away,"),
        (RouterKind.ALWAYS_LARGE, None, 0, "s is passed over: asking l."),
    ],
)
def test_an_escalation_in_words(router: RouterKind, score: float | None, lost: int, says: str) -> None:
    event = Escalated(from_tier="s", to_tier="l", score=score, threshold=0.3, discarded_tokens=lost)
    assert says in escalation(event, router)


def test_gears_that_cancel_each_other_are_told_of() -> None:
    def notices(gear: CascadeConfig, speculation: SpeculationConfig | None = None, **report: object) -> str:
        config = make_request(model="m", cascade=gear, speculation=speculation).config
        made = make_cascade_report(**report)  # type: ignore[arg-type]
        return " ".join(cascade_notices(made, None, None, None, config, later_turn=False))

    assert notices(CASCADE) == ""
    assert "always asks the largest" in notices(
        replace(CASCADE, router=RouterKind.ALWAYS_LARGE), router=RouterKind.ALWAYS_LARGE
    )
    assert "threshold of 0 sends everything on" in notices(replace(CASCADE, thresholds=(0.0,)))
    drafted = notices(CASCADE, SpeculationConfig.with_model("tiny"), went_up=False)
    assert "Speculation did nothing: its drafter was chosen for m bf16, and smollm2-135m int4 answered." in drafted
    assert "Could not take part: x: too long" in notices(CASCADE, unavailable=("x: too long",))


@pytest.mark.parametrize(
    ("later_turn", "cached_tokens", "cause", "told"),
    [
        (True, 0, MissCause.CONFIGURATION, True),
        (True, 0, MissCause.NOTHING, True),
        (True, 0, MissCause.TURN, False),
        (True, 30, MissCause.CONFIGURATION, False),
        (False, 0, MissCause.NOTHING, False),
    ],
)
def test_a_change_of_tier_that_leaves_the_cache_behind_is_told_of(
    later_turn: bool, cached_tokens: int, cause: MissCause, told: bool
) -> None:
    for gear in (CASCADE, replace(CASCADE, keep_tier=True)):
        config = RunConfig(
            model="m", optimization=OptimizationConfig.at(Precision.BF16, CacheMode.PREFIX, cascade=gear)
        )
        metrics = replace(make_metrics(prompt_tokens=40), cached_tokens=cached_tokens)
        cache = CacheReport(
            cause=cause, nearest_tokens=0, parted_at=None, kept_text="", came_text="", detail="", lost_tokens=0
        )
        notices = " ".join(cascade_notices(make_cascade_report(), None, metrics, cache, config, later_turn=later_turn))
        assert ("read 40 of 40 tokens anew" in notices) is told
        assert ("Keeping the tier avoids that" in notices) is (told and not gear.keep_tier)


def test_only_a_habit_is_called_one() -> None:
    assert habit(4, 4) is None
    assert habit(5, 6) is None
    assert "All of the last 6" in (habit(6, 6) or "")
    assert "None of the last 6" in (habit(0, 6) or "")


@pytest.mark.parametrize(
    ("first", "other", "says"),
    [
        ("Yes, it is.", "No. It is not.", "one says yes, the other no"),
        ("It takes 12 days.", "That makes 15.", "one ends on 12, the other on 15"),
        ("It takes 1,200 days.", "1200", None),
        ("1. Apples\n2. Pears", "1. Apples\n2. Pears\n3. Plums", None),
        ("At 12:40.", "At 11:40.", "one ends on 12:40, the other on 11:40"),
        ("Yes", "It depends.", None),
        ("Nobody knows.", "Yes.", None),
    ],
)
def test_contradictions_are_found_in_yes_and_no_and_in_last_numbers(first: str, other: str, says: str | None) -> None:
    found = contradiction(first, other)
    assert found is None if says is None else says in (found or "")


def test_a_lane_begins_anew_when_a_larger_tier_is_asked(store: RunStore) -> None:
    request = make_request(model="m", cascade=CASCADE)
    lane, before = LaneRun(request), []
    for event in stream(CascadingEngine(), store, request, person_id="s"):
        lane.take(event)
        if isinstance(event, Escalated):
            before.append((lane.phase, lane.text))
    assert before == [(Phase.READING, "")]
    assert lane.text == "Yes, light."
    assert lane.reports.cascade is not None
    assert lane.reports.cascade.tier == "m bf16"
    assert lane.escalated is not None


def test_a_verdict_counts_what_was_thrown_away_and_compares_models_by_who_answered(store: RunStore) -> None:
    lanes = []
    for gear in (None, CASCADE):
        lane = LaneRun(request := make_request(model="m", cascade=gear))
        for event in stream(CascadingEngine(), store, request, person_id="s"):
            lane.take(event)
        lanes.append(lane)
    verdict = judge([lanes[0].outcome("A")], [lanes[1].outcome("B")], UNMEASURED)
    words = " ".join(verdict.details)
    assert "B is a cascade, and m bf16 answered." in words
    assert "B's TTFT and E2E include the 3 tokens that it threw away" in words
    assert "The models differ" not in words
    lanes[1].reports = Reports(cascade=make_cascade_report(went_up=False))
    assert "The models differ" in " ".join(judge([lanes[0].outcome("A")], [lanes[1].outcome("B")], UNMEASURED).details)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("unit", ["\n", "\r\n", " ", "1", "1. ", "1.1", "-", "1:", "a1", ".", "1. \n"])
def test_answers_of_a_megabyte_are_judged_in_bounded_time(unit: str) -> None:
    text = unit * (10**6 // len(unit))
    assert contradiction(text, text) is None
    assert contradiction(f"yes {text}", f"no {text}") is not None
