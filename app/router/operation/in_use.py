"""A router profile put to use: the whole configuration that goes by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from app.store import KeptProfile, RouterStore
from engine.cascade import Evidence, RouterProfile
from engine.types import CacheMode, CascadeConfig, OptimizationConfig, RunConfig, SamplingParams, Tier, backend_of


def profile_text(profile: RouterProfile) -> str:
    """A profile as it stands in a configuration: one text for one profile."""
    return json.dumps(profile.to_dict(), sort_keys=True)


def tiers_of(profile: RouterProfile) -> tuple[Tier, ...]:
    """Its ladder, from the smallest tier up."""
    return tuple(Tier(model=tier.model, precision=tier.precision) for tier in profile.ladder)


def cascade_by(profile: RouterProfile) -> CascadeConfig:
    """The cascading gear as a profile sets it."""
    return CascadeConfig(
        smaller=tiers_of(profile)[:-1],
        router=profile.kind,
        thresholds=tuple(boundary.threshold for boundary in profile.boundaries),
        profile=profile_text(profile),
        after_tokens=profile.after_tokens,
    )


def configuration_by(
    profile: RouterProfile, sampling: SamplingParams, cache_mode: CacheMode = CacheMode.KV
) -> RunConfig:
    """All that a run by this profile is asked with; no other gear is on but how KV is kept."""
    largest = tiers_of(profile)[-1]
    gears = OptimizationConfig.at(largest.precision, cache_mode, cascade=cascade_by(profile))
    return RunConfig(model=largest.model, backend=backend_of(largest.model), optimization=gears, sampling=sampling)


def large_alone(profile: RouterProfile, sampling: SamplingParams) -> RunConfig:
    """What it is held against: its largest tier with no cascade in front of it."""
    largest = tiers_of(profile)[-1]
    gears = OptimizationConfig.at(largest.precision)
    return RunConfig(model=largest.model, backend=backend_of(largest.model), optimization=gears, sampling=sampling)


def keep_once(
    store: RouterStore,
    profile: RouterProfile,
    evidence: Evidence | None,
    kept: Sequence[KeptProfile],
    data_set: str | None = None,
) -> str:
    """The id of a profile in the store. One that decides the same under the same name, from the same answers, is not
    kept again.

    Raises:
        StoreError: it could not be kept.
    """
    same = (each.id for each in kept if _decides(each.profile) == _decides(profile))
    return next(same, None) or store.keep_profile(profile, evidence, data_set)


def _decides(profile: RouterProfile) -> dict[str, Any]:
    """A profile without the day and the figures, in which times are measured anew."""
    return {**profile.to_dict(), "made_on": "", "figures": {}}
