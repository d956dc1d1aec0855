"""What cascades are called, and what a tier is asked by itself."""

from __future__ import annotations

import json
from dataclasses import replace

from engine.cascade import RouterProfile, profile_from_json, router_class
from engine.types import NEVER, CacheMode, CascadeConfig, OptimizationConfig, RouterKind, RunConfig, Tier, backend_of

OFFERED = tuple(kind for kind in RouterKind if router_class(kind).deployable and not router_class(kind).has_band)
"""Routers that need no data. A hybrid's band must be calibrated: it comes with a profile."""
JUDGING = tuple(kind for kind in OFFERED if router_class(kind).fixed is None)
"""Of these, the ones that go by a threshold."""
FIRST_THRESHOLD = 0.3
"""Of a cascade that nobody has set yet."""
FIXED_THRESHOLDS = {RouterKind.ALWAYS_SMALL: NEVER, RouterKind.ALWAYS_LARGE: 0.0}
"""Of the routers that need no score."""


def first_thresholds(router: RouterKind, tiers: int, profile: str | None) -> tuple[float, ...]:
    """What a cascade begins with where nobody says anything else: a profile's own.

    Args:
        router: of the cascade.
        tiers: in front of the model.
        profile: a router profile as JSON.

    Raises:
        RouterProfileError: it is none.
    """
    if profile is not None:
        return tuple(boundary.threshold for boundary in profile_from_json(profile.encode())[0].boundaries)
    return (FIXED_THRESHOLDS.get(router, FIRST_THRESHOLD),) * tiers


def alone_config(config: RunConfig, tier: str) -> RunConfig:
    """What a tier writes by itself: the gears that may change an answer stay, nothing is kept or reused."""
    answering = next(each for each in config.ladder if str(each) == tier)
    gears = config.optimization
    mode = CacheMode.OFF if gears.cache_mode is CacheMode.OFF else CacheMode.KV
    alone = (
        OptimizationConfig()
        if answering.is_remote
        else OptimizationConfig.at(answering.precision, mode, gears.kv_dtype, gears.window)
    )
    return replace(config, model=answering.model, backend=backend_of(answering.model), optimization=alone)


def cascade_name(cascade: CascadeConfig, largest: str) -> str:
    """A cascade in a few words: "smollm2-135m int4 → qwen2.5-coder-0.5b int4, escalate at 0.30"."""
    ladder = " → ".join([*map(str, cascade.smaller), largest])
    if cascade.profile is not None:
        how = f"{cascade.router} by “{profile_name(cascade.profile)}”"
    elif cascade.router in JUDGING:
        how = f"{cascade.router} at {' and '.join(map(threshold_text, cascade.thresholds))}"
    else:
        how = str(cascade.router).replace("-", " ")
    early = f" after {cascade.after_tokens} tokens" if cascade.after_tokens else ""
    keeps, unguarded = ", keeps its tier" if cascade.keep_tier else "", "" if cascade.guard else ", never steps aside"
    return f"{ladder}, {how}{early}{keeps}{unguarded}"


def threshold_text(threshold: float) -> str:
    """A threshold with two digits, or that nothing reaches it."""
    return "no score" if threshold >= NEVER else f"{threshold:.2f}"


def profile_name(profile: str) -> str:
    """What somebody called the router of a profile's JSON."""
    return str(json.loads(profile)["name"])


def profile_fits(profile: RouterProfile, cascade: CascadeConfig, largest: Tier) -> bool:
    """Whether a profile was made for the models and precisions of a cascade. The engine compares the weights too."""
    ladder = tuple(Tier(model=tier.model, precision=tier.precision) for tier in profile.ladder)
    return ladder == (*cascade.smaller, largest)
