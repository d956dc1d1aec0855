"""A router profile as a whole configuration."""

from __future__ import annotations

import json
from datetime import date

import pytest

from app.router.choosing.scoring import Choice
from app.router.choosing.study import Study
from app.router.operation.in_use import configuration_by, keep_once, large_alone
from app.store import RunStore
from engine.cascade import RouterProfile
from engine.types import CacheMode, RouterKind, RunConfig, SamplingParams, Tier
from tests.support.cascade import STRONG, WEAK, recorded

WEIGHTS = {WEAK: "a" * 64, STRONG: "b" * 64}


def profile(choice: Choice = Choice.ESCALATE, day: int = 14) -> RouterProfile:
    study = Study.of(recorded(150), WEAK, STRONG, choice)
    return study.profile("Careful", 0.4, WEIGHTS, "c" * 64, date(2026, 3, day))


@pytest.mark.parametrize("choice", [Choice.ESCALATE, Choice.ESCALATE_EARLY, Choice.HYBRID_LEARNED])
def test_a_profile_sets_the_whole_configuration(choice: Choice) -> None:
    made = profile(choice)
    config = configuration_by(made, SamplingParams(max_tokens=77), CacheMode.PREFIX)
    cascade = config.optimization.cascade
    assert cascade is not None
    assert config.ladder == (Tier.from_key(WEAK), Tier.from_key(STRONG))
    assert cascade.thresholds == (0.4,)
    assert cascade.router is made.kind
    assert cascade.after_tokens == made.after_tokens
    assert RouterProfile.from_dict(json.loads(cascade.profile or "")) == made
    assert config.optimization.cache_mode is CacheMode.PREFIX
    assert config.sampling.max_tokens == 77
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_it_is_held_against_its_largest_tier_alone() -> None:
    alone = large_alone(profile(), SamplingParams())
    assert alone.ladder == (Tier.from_key(STRONG),)


def test_the_same_router_is_kept_once_whatever_the_day(store: RunStore) -> None:
    evidence = Study.of(recorded(150), WEAK, STRONG, Choice.ESCALATE).evidence(0.4, {"cpu": "Xeon"})
    first = keep_once(store.router, profile(day=14), evidence, store.router.profiles())
    assert keep_once(store.router, profile(day=15), evidence, store.router.profiles()) == first
    other = keep_once(store.router, profile(Choice.ESCALATE_LEARNED), evidence, store.router.profiles())
    assert store.router.evidence(store.router.profiles()[0].id) == evidence
    assert other != first
    assert [kept.version for kept in store.router.profiles()] == [2, 1]
    assert profile().kind is RouterKind.ESCALATE
