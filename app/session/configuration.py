"""A configuration as the widgets of a form hold it: a value for each setting, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from app.cascade.cascades import FIRST_THRESHOLD, FIXED_THRESHOLDS, JUDGING
from app.speculation.drafters import drafter_key, drafter_of
from engine.cascade import RouterProfile
from engine.types import (
    Backend,
    CacheMode,
    CascadeConfig,
    GearKind,
    KVCacheConfig,
    KVDtype,
    OptimizationConfig,
    Precision,
    QuantizationConfig,
    RouterKind,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
    is_remote,
)

PLACES = ("first", "second")
"""The smaller tiers of a cascade in the order in which they are asked."""

DEFAULT_CONFIG = RunConfig(
    model="smollm2-135m",
    optimization=OptimizationConfig.at(Precision.INT4),
    sampling=SamplingParams(max_tokens=128),
)
"""What a form shows first, unless its page says otherwise."""


def gear_setting(gear: GearKind) -> str:
    """The setting that turns a gear on, such as ``kv-cache``."""
    return gear.replace("_", "-")


def first_installed(installed: Sequence[str]) -> RunConfig:
    """What a form shows first where only installed models are offered."""
    return replace(DEFAULT_CONFIG, model=installed[0]) if installed else DEFAULT_CONFIG


@dataclass(frozen=True, slots=True)
class Form:
    """What the widgets of one form are set to in this session. What was not drawn yet is as in :attr:`first`."""

    prefix: str
    """Begins the widgets' keys: ``lane-a`` gives ``lane-a-model``."""
    first: RunConfig

    def key(self, setting: str) -> str:
        """The key of a setting's widget."""
        return f"{self.prefix}-{setting}"

    def widget(self, setting: str) -> str:
        """The key of a setting's widget that is about to be drawn; it has its first value from now on."""
        st.session_state.setdefault(self.key(setting), values_of(self.first)[setting])
        return self.key(setting)

    def value(self, setting: str) -> Any:
        """The value of one setting."""
        return self.values()[setting]

    def values(self) -> dict[str, Any]:
        """The value of every setting."""
        first = values_of(self.first)
        return {setting: st.session_state.get(self.key(setting), value) for setting, value in first.items()}

    def set(self, values: Mapping[str, Any]) -> None:
        """Set some of the widgets, before they are drawn."""
        for setting, value in values.items():
            st.session_state[self.key(setting)] = value

    @property
    def model(self) -> str:
        """The model chosen; blank where there is none."""
        return (self.value("model") or "").strip()

    @property
    def backend(self) -> Backend:
        """Who runs the model: a server its own."""
        return _backend_of(self.values())

    @property
    def tier(self) -> Tier:
        """The model with its precision.

        Raises:
            InvalidRequestError: no model is chosen.
        """
        return tier_of(self.model, self.precision)

    @property
    def precision(self) -> Precision:
        """The precision of the weights: 16 bits with the quantization gear off, and unknown of a server's model."""
        return Precision.UNKNOWN if is_remote(self.model) else _precision_of(self.values())

    def config(self) -> RunConfig:
        """All of it.

        Raises:
            InvalidRequestError: a value is missing or out of range.
        """
        return config_of(self.values())


def values_of(config: RunConfig) -> dict[str, Any]:
    """What the widgets show for a configuration, by setting. A gear that is off shows what it would be turned on to."""
    # a backend without gears: these are found when it is changed
    gears = config.optimization if config.backend.info.gears else DEFAULT_CONFIG.optimization
    speculation, sampling = gears.speculation or SpeculationConfig(), config.sampling
    return {
        "model": config.model,
        # a server's model brings its backend along: this is of the next model that is none
        "backend": DEFAULT_CONFIG.backend if config.backend is Backend.REMOTE else config.backend,
        "quantization": gears.quantization is not None,
        "precision": (gears.quantization or QuantizationConfig()).precision,
        "kv-cache": gears.kv_cache is not None,
        "cache-mode": (gears.kv_cache or KVCacheConfig()).mode,
        "kv-int8": gears.kv_dtype is KVDtype.INT8,
        "kv-window": gears.window,
        "speculation": gears.speculation is not None,
        "drafter": drafter_key(speculation),
        "gamma": speculation.gamma,
        "cascade": gears.cascade is not None,
        **_cascade_values(gears.cascade),
        "temperature": sampling.temperature,
        "top-p": sampling.top_p,
        "top-k": sampling.top_k,
        "repetition-penalty": sampling.repetition_penalty,
        "seed": sampling.seed,
        "max-tokens": sampling.max_tokens,
        "stop": list(sampling.stop),
    }


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of `values_of`. A gear that the backend does not have is off, whatever its toggle says.

    Raises:
        InvalidRequestError: a value is missing or out of range.
    """
    backend = _backend_of(values)
    missing = {gear_setting(gear): False for gear in GearKind if gear not in backend.info.gears}
    return RunConfig(
        model=(values["model"] or "").strip(),
        backend=backend,
        optimization=_gears_of({**values, **missing}),
        sampling=SamplingParams(
            temperature=values["temperature"],
            top_p=values["top-p"],
            top_k=values["top-k"],
            repetition_penalty=values["repetition-penalty"],
            seed=values["seed"],
            max_tokens=values["max-tokens"],
            stop=tuple(values["stop"]),
        ),
    )


def tier_of(model: str, precision: Precision) -> Tier:
    """A model as a tier of a cascade; a precision that is chosen says nothing of a server's.

    Raises:
        InvalidRequestError: no model is chosen.
    """
    return Tier(model=model, precision=Precision.UNKNOWN if is_remote(model) else precision)


def cascade_of(values: Mapping[str, Any]) -> CascadeConfig:
    """The cascading gear as it is set, on or off. A profile, as JSON, brings its router, its thresholds and how much
    it judges along.

    Raises:
        InvalidRequestError: the tiers make no ladder, or the profile is none.
    """
    values = {setting.removeprefix("cascade-"): value for setting, value in values.items()}
    places = [place for place in PLACES if place == PLACES[0] or values[f"{place}-model"]]
    router, after_tokens = RouterKind(values["router"]), None
    if profile := values["profile"]:
        calibrated = RouterProfile.from_dict(json.loads(profile))
        router, after_tokens = calibrated.kind, calibrated.after_tokens
        thresholds = tuple(boundary.threshold for boundary in calibrated.boundaries)
    elif router in FIXED_THRESHOLDS:
        thresholds = (FIXED_THRESHOLDS[router],) * len(places)
    else:
        thresholds = tuple(float(values[f"{place}-threshold"]) for place in places)
        after_tokens = values["after-tokens"] if router is RouterKind.ESCALATE else None
    return CascadeConfig(
        smaller=tuple(
            tier_of(values[f"{place}-model"] or "", Precision(values[f"{place}-precision"])) for place in places
        ),
        router=router,
        thresholds=thresholds,
        profile=profile,
        after_tokens=after_tokens,
        keep_tier=bool(values["keep-tier"]),
        guard=bool(values["guard"]),
    )


def _cascade_values(cascade: CascadeConfig | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        "router": RouterKind.ESCALATE,
        "after-tokens": None,
        "keep-tier": False,
        "guard": True,
        "profile": None,
    }
    for place, model in zip(PLACES, (DEFAULT_CONFIG.model, None), strict=True):
        values |= {
            f"{place}-model": model,
            f"{place}-precision": Precision.INT4,
            f"{place}-threshold": FIRST_THRESHOLD,
        }
    if cascade:
        values |= {"keep-tier": cascade.keep_tier, "guard": cascade.guard, "profile": cascade.profile}
        for place, tier, threshold in zip(PLACES, cascade.smaller, cascade.thresholds, strict=False):
            values |= {f"{place}-model": tier.model}
            values |= {} if tier.is_remote else {f"{place}-precision": tier.precision}
            if cascade.profile is None and cascade.router in JUDGING:
                values[f"{place}-threshold"] = min(threshold, 1.0)
        if cascade.profile is None:
            values |= {"router": cascade.router, "after-tokens": cascade.after_tokens}
    return {f"cascade-{setting}": value for setting, value in values.items()}


def _gears_of(values: Mapping[str, Any]) -> OptimizationConfig:
    mode = CacheMode(values["cache-mode"]) if values["kv-cache"] else CacheMode.KV
    kept = values["kv-cache"] and mode is not CacheMode.OFF
    return OptimizationConfig.at(
        _precision_of(values),
        mode,
        KVDtype.INT8 if kept and values["kv-int8"] else KVDtype.BF16,
        values["kv-window"] if kept else None,
        drafter_of(values["drafter"], values["gamma"]) if values["speculation"] else None,
        cascade_of(values) if values["cascade"] else None,
    )


def _backend_of(values: Mapping[str, Any]) -> Backend:
    return Backend.REMOTE if is_remote((values["model"] or "").strip()) else Backend(values["backend"])


def _precision_of(values: Mapping[str, Any]) -> Precision:
    return Precision(values["precision"]) if values["quantization"] else Precision.BF16
