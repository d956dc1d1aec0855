"""What an autopilot may try: precision × KV cache × drafter and γ × cascade, over the installed models."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

from app.experiments.planning.design import NamedConfiguration
from engine.errors import InvalidRequestError
from engine.types import (
    CacheMode,
    CascadeConfig,
    Drafter,
    DrafterChoice,
    KVDtype,
    OptimizationConfig,
    Precision,
    RunConfig,
    SpeculationConfig,
    Tier,
)

MOST_CANDIDATES = 48
THRESHOLDS = (0.15, 0.3, 0.5)
"""Of a cascade's router: from so low a doubt on the larger model answers."""
GAMMAS = (None, 4)
"""Tokens drafted at once; ``None`` lets the controller choose."""
_SMALL_TIER = Precision.INT4


class Gear(StrEnum):
    """What may be varied beside the model and its precision."""

    KV = "KV cache"
    SPECULATION = "speculation"
    CASCADE = "cascade"


_KV: Mapping[str, tuple[CacheMode, KVDtype]] = {
    "": (CacheMode.KV, KVDtype.BF16),
    "KV int8": (CacheMode.KV, KVDtype.INT8),
    "prefix cache": (CacheMode.PREFIX, KVDtype.BF16),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What is to be combined."""

    models: tuple[str, ...]
    """Installed ones, the smallest first."""
    precisions: tuple[Precision, ...]
    gears: tuple[Gear, ...] = tuple(Gear)
    drafts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By model, those that may draft for it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What there is to try."""

    configurations: tuple[NamedConfiguration, ...]
    """Drawn, those first that are to be tried if there is not time for all."""
    possible: int
    """How many can be combined."""
    skipped: Mapping[str, int]
    """How many cannot, by the reason."""


def candidates(space: Space, baseline: RunConfig, *, most: int = MOST_CANDIDATES, seed: int = 0) -> Candidates:
    """What can be combined, and at most so many of it: each model in each precision first, then some with gears, at
    random.

    Args:
        space: what is combined.
        baseline: no candidate itself; candidates sample as it does.
        most: how many are drawn.
        seed: of the draw.
    """
    found: dict[str, RunConfig] = {}
    skipped = Counter[str]()
    for name, parts in _combinations(space):
        try:
            gears = OptimizationConfig.at(*parts.gears, cascade=parts.cascade)
            config = RunConfig(model=parts.model, optimization=gears, sampling=baseline.sampling)
        except InvalidRequestError as error:
            skipped[str(error)] += 1
            continue
        if config != baseline:
            found[name] = config
    plain = [name for name in found if _PLUS not in name and _TO not in name]
    others = [name for name in found if name not in plain]
    random.Random(seed).shuffle(others)
    chosen = [*plain, *others][:most]
    return Candidates(tuple(NamedConfiguration(name, found[name]) for name in chosen), len(found), skipped)


def drafting_models(choices: Iterable[DrafterChoice], models: Sequence[str]) -> tuple[str, ...]:
    """Which of some models can draft for another one, in their order.

    Args:
        choices: what the engine says of that one's drafters.
        models: those that may.
    """
    able = {each.speculation.draft_model for each in choices if each.speculation is not None}
    return tuple(name for name in models if name in able)


_PLUS, _TO = " + ", " → "


@dataclass(frozen=True, slots=True)
class _Parts:
    model: str
    gears: tuple[Precision, CacheMode, KVDtype, int | None, SpeculationConfig | None]
    cascade: CascadeConfig | None


def _combinations(space: Space) -> Iterator[tuple[str, _Parts]]:
    kv = _KV if Gear.KV in space.gears else {"": _KV[""]}
    for model, precision in product(space.models, space.precisions):
        drafting = _drafting(space, model) if Gear.SPECULATION in space.gears else {"": None}
        cascades = _cascades(space, model) if Gear.CASCADE in space.gears else {"": None}
        for (kept, mode), (drafter, speculation), (front, cascade) in product(
            kv.items(), drafting.items(), cascades.items()
        ):
            alone = f"{model} {precision}"
            name = f"{front.partition('@')[0]}{_TO}{alone} at {front.partition('@')[2]}" if front else alone
            parts = _Parts(model, (precision, *mode, None, speculation), cascade)
            yield _PLUS.join(filter(None, (name, kept, drafter))), parts


def _drafting(space: Space, model: str) -> dict[str, SpeculationConfig | None]:
    found: dict[str, SpeculationConfig | None] = {"": None}
    for gamma in GAMMAS:
        length = "" if gamma is None else f" γ {gamma}"
        found[f"n-grams{length}"] = SpeculationConfig(drafter=Drafter.NGRAM, gamma=gamma)
        found[f"own int4 copy drafts{length}"] = SpeculationConfig.with_self(gamma=gamma)
        for draft in space.drafts.get(model, ()):
            found[f"{draft} drafts{length}"] = SpeculationConfig.with_model(draft, gamma=gamma)
    return found


def _cascades(space: Space, model: str) -> dict[str, CascadeConfig | None]:
    """Each smaller model in front of it, at each threshold; keys are "model precision@threshold"."""
    smaller: Sequence[str] = space.models[: space.models.index(model)]
    found: dict[str, CascadeConfig | None] = {"": None}
    for small, threshold in product(smaller, THRESHOLDS):
        tier = Tier(model=small, precision=_SMALL_TIER)
        found[f"{tier}@{threshold:g}"] = CascadeConfig(smaller=(tier,), thresholds=(threshold,))
    return found
