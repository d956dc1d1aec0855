"""Every set of a configuration's gears: what an experiment measures to tell what each of them changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from app.experiments.planning.design import NamedConfiguration
from engine.errors import InvalidRequestError
from engine.types import OptimizationConfig, RunConfig

Gears = frozenset[str]

PLAIN = "no gears"
_PARTS = {"kv_cache": "KV cache", "speculation": "speculation", "cascade": "cascade"}
"""The other gears but quantization, which is called by its precision."""


def gears_on(config: RunConfig) -> Gears:
    """The gears that a configuration has on, as they are called: "int4", "KV cache", "speculation", "cascade"."""
    return frozenset(_parts_on(config.optimization))


def factorial(config: RunConfig) -> tuple[NamedConfiguration, ...]:
    """A configuration with every set of its gears, from none of them to all; sets that cannot be combined are left
    out."""
    on = _parts_on(config.optimization)
    found = []
    for count in range(len(on) + 1):
        for names in combinations(on, count):
            parts = {on[name]: getattr(config.optimization, on[name]) for name in names}
            try:
                gears = OptimizationConfig(**parts)
                found.append(NamedConfiguration(" + ".join(names) or PLAIN, replace(config, optimization=gears)))
            except InvalidRequestError:  # such as a drafter that, without quantization, is the very model
                continue
    return tuple(found)


def measured_sets(configurations: Sequence[NamedConfiguration]) -> dict[Gears, int]:
    """The place of each set of gears among some configurations, where these are sets of one configuration's gears, the
    empty one and the whole one among them; else nothing."""
    sets = {gears_on(each.config): place for place, each in enumerate(configurations)}
    every = frozenset[str]().union(*sets)
    if len(sets) < len(configurations) or len(every) < 2 or not {frozenset(), every} <= sets.keys():
        return {}
    factors = {each.config for each in factorial(configurations[sets[every]].config)}
    return sets if factors.issuperset(each.config for each in configurations) else {}


def _parts_on(gears: OptimizationConfig) -> dict[str, str]:
    """The part of each gear that is on, by what the gear is called."""
    quantized = {str(gears.precision): "quantization"} if gears.quantization else {}
    return quantized | {name: part for part, name in _PARTS.items() if getattr(gears, part)}
