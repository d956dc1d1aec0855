"""The cascading gear as widgets keep it, and what cascades are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from engine.cascade import RouterProfile
from engine.types import NEVER, CacheMode, CascadeConfig, OptimizationConfig, Precision, RouterKind, RunConfig, Tier

ROUTERS = (
    RouterKind.ESCALATE,
    RouterKind.ROUTE,
    RouterKind.RANDOM,
    RouterKind.ALWAYS_SMALL,
    RouterKind.ALWAYS_LARGE,
)
"""Those that need no data. A hybrid must be calibrated: it comes with a profile."""
JUDGING = (RouterKind.ESCALATE, RouterKind.ROUTE, RouterKind.RANDOM)
"""Those that go by a threshold."""
PLACES = ("first", "second")
"""The smaller tiers in the order in which they are asked."""
FIRST_VALUES: dict[str, Any] = {
    "first-model": "smollm2-135m",
    "first-precision": Precision.INT4,
    "first-threshold": 0.3,
    "second-model": None,
    "second-precision": Precision.INT4,
    "second-threshold": 0.3,
    "router": RouterKind.ESCALATE,
    "after-tokens": None,
    "keep-tier": False,
    "profile": None,
}
"""Of the gear's widgets, by setting."""


def cascade_of(read: Callable[[str], Any]) -> CascadeConfig:
    """The gear as widgets are set.

    Args:
        read: gives the value of a setting of :data:`FIRST_VALUES`. A profile is its JSON, and brings its router,
            its thresholds and how much it judges along.

    Raises:
        InvalidRequestError: the tiers make no ladder, or the profile is none.
    """
    places = [place for place in PLACES if place == PLACES[0] or read(f"{place}-model")]
    smaller = tuple(
        Tier(model=read(f"{place}-model") or "", precision=Precision(read(f"{place}-precision"))) for place in places
    )
    if profile := read("profile"):
        router, thresholds, after_tokens = _calibrated(profile)
    else:
        router = RouterKind(read("router"))
        own = tuple(float(read(f"{place}-threshold")) for place in places)
        fixed = {RouterKind.ALWAYS_SMALL: NEVER, RouterKind.ALWAYS_LARGE: 0.0}
        thresholds = (fixed[router],) * len(places) if router in fixed else own
        after_tokens = read("after-tokens") if router is RouterKind.ESCALATE else None
    return CascadeConfig(
        smaller=smaller,
        router=router,
        thresholds=thresholds,
        profile=profile,
        after_tokens=after_tokens,
        keep_tier=bool(read("keep-tier")),
    )


def values_of(cascade: CascadeConfig | None) -> dict[str, Any]:
    """What the widgets show for a gear, by setting; the first values where it is off."""
    if cascade is None:
        return dict(FIRST_VALUES)
    values = {**FIRST_VALUES, "keep-tier": cascade.keep_tier}
    for place, tier, threshold in zip(PLACES, cascade.smaller, cascade.thresholds, strict=False):
        values |= {f"{place}-model": tier.model, f"{place}-precision": tier.precision}
        if cascade.profile is None and cascade.router in JUDGING:
            values[f"{place}-threshold"] = min(threshold, 1.0)
    if cascade.profile is not None:
        return {**values, "profile": cascade.profile}
    return {**values, "router": cascade.router, "after-tokens": cascade.after_tokens}


def alone_config(config: RunConfig, tier: str) -> RunConfig:
    """What a tier writes by itself: the gears that may change an answer stay, nothing is kept or reused."""
    answering = next(each for each in config.ladder if str(each) == tier)
    gears = config.optimization
    mode = CacheMode.OFF if gears.cache_mode is CacheMode.OFF else CacheMode.KV
    alone = OptimizationConfig.at(answering.precision, mode, gears.kv_dtype, gears.window)
    return replace(config, model=answering.model, optimization=alone)


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
    return f"{ladder}, {how}{early}{', keeps its tier' if cascade.keep_tier else ''}"


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


def _calibrated(profile: str) -> tuple[RouterKind, tuple[float, ...], int | None]:
    read = RouterProfile.from_dict(json.loads(profile))
    return read.kind, tuple(boundary.threshold for boundary in read.boundaries), read.after_tokens
