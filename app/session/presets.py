"""Whole configurations that one click puts into a form: plain, all gears, and those that people saved."""

from __future__ import annotations

from collections.abc import Sequence

import engine
from app import resources
from app.cascade.cascades import FIRST_THRESHOLD
from app.cascade.pairs import Pair, Sized, largest_pair, pair_for
from app.router.operation.in_use import configuration_by
from app.session.configuration import Form, values_of
from engine.cascade import RouterProfile
from engine.types import (
    CacheMode,
    CascadeConfig,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
    is_remote,
)

_SAMPLING = ("temperature", "top-p", "top-k", "repetition-penalty", "seed", "max-tokens", "stop")


def models_here() -> list[engine.ModelInfo]:
    """The library."""
    return engine.list_models(resources.get_settings().models_dir)


def plain(model: str) -> RunConfig:
    """A model by this app's decoder, in 16 bits, with no gear."""
    return RunConfig(model=model)


def all_gears(models: Sequence[Sized]) -> RunConfig | None:
    """Every gear on the largest installed model, with the next smaller one in front of it where there is one; ``None``
    without any model."""
    pair = largest_pair(models)
    if pair is None:
        return None
    cascade = cascade_in_front(pair)
    gears = OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX, speculation=SpeculationConfig(), cascade=cascade)
    return RunConfig(model=pair.large, optimization=gears)


def cascade_in_front(pair: Pair) -> CascadeConfig | None:
    """The cascading gear of a pair of models as it is first set."""
    if pair.small is None:
        return None
    tier = Tier(model=pair.small, precision=Precision.INT4)
    return CascadeConfig(smaller=(tier,), thresholds=(FIRST_THRESHOLD,))


def turn_on_cascade(form: Form) -> None:
    """Give a cascade that was just turned on two models that make one.

    What is set already stays if it can run. Where nothing smaller than the form's model is installed, that model
    becomes the smaller tier of the largest one.
    """
    values, models = form.values(), models_here()
    installed = {model.name for model in models if model.installed}
    first = values["cascade-first-model"]
    if not values["cascade"] or ((first in installed or is_remote(first or "")) and first != form.model):
        return
    pair = pair_for(form.model, models)
    if pair and pair.small:
        small = Precision.INT4
        form.set({"model": pair.large, "cascade-first-model": pair.small, "cascade-first-precision": small})


def go_by(form: Form, profile: RouterProfile) -> None:
    """Set a form's cascade to a router profile: its tiers, the model and precision of the largest among them, and its
    thresholds. All else stays."""
    values = values_of(configuration_by(profile, SamplingParams()))
    of_cascade = {setting: value for setting, value in values.items() if setting.startswith("cascade")}
    kept = {"cascade-guard", "cascade-keep-tier"}
    form.set({setting: values[setting] for setting in ("model", "quantization", "precision")})
    form.set({setting: value for setting, value in of_cascade.items() if setting not in kept})


def put_gears(form: Form, config: RunConfig) -> None:
    """Set a form's model, backend and gears; how tokens are sampled stays."""
    form.set({setting: value for setting, value in values_of(config).items() if setting not in _SAMPLING})
