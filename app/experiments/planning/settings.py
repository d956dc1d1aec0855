"""A configuration's table in a TOML file: what `planning.configurations` reads, written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from app.experiments.planning.design import NamedConfiguration
from engine.types import OptimizationConfig, SamplingParams, is_remote
from engine.untrusted import valid_text


def settings_of(configuration: NamedConfiguration) -> Mapping[str, Any]:
    """What a configuration's table holds: what differs from the usual, by the file's keys; ``None`` is left out."""
    config = configuration.config
    gears = config.optimization
    return {
        "name": configuration.name,
        "model": config.model,
        "backend": str(config.backend),
        "precision": None if is_remote(config.model) else str(gears.precision),
        **_kv_cache(gears),
        **_speculation(gears),
        **_cascade(gears),
        **_sampling(configuration.asked.sampling),
    }


def _kv_cache(gears: OptimizationConfig) -> Mapping[str, Any]:
    if gears.kv_cache is None:
        return {}
    return {"cache": str(gears.cache_mode), "kv_dtype": str(gears.kv_dtype), "window": gears.window}


def _speculation(gears: OptimizationConfig) -> Mapping[str, Any]:
    drafting = gears.speculation
    if drafting is None:
        return {}
    precision = drafting.draft_precision
    return {
        "drafter": str(drafting.drafter),
        "draft_model": drafting.draft_model,
        "draft_precision": None if precision is None else str(precision),
        "gamma": drafting.gamma,
    }


def _cascade(gears: OptimizationConfig) -> Mapping[str, Any]:
    cascade = gears.cascade
    if cascade is None:
        return {}
    return {
        "smaller": [tier.key for tier in cascade.smaller],
        "thresholds": list(cascade.thresholds),
        "router": str(cascade.router),
        "profile": cascade.profile,
        "after_tokens": cascade.after_tokens,
        "keep_tier": cascade.keep_tier,
        "guard": cascade.guard,
    }


def _sampling(sampling: SamplingParams) -> Mapping[str, Any]:
    usual = SamplingParams()
    changed = {
        field.name: value
        for field in fields(sampling)
        if (value := getattr(sampling, field.name)) != getattr(usual, field.name)
    }
    return {"temperature": sampling.temperature} | changed


# --- TOML -----------------------------------------------------------------------------------------------


def toml_table(tree: Mapping[str, Any]) -> str:
    """Keys with their values as TOML, a line each; ``None`` is left out."""
    return "".join(f"{key} = {_value(value)}\n" for key, value in tree.items() if value is not None)


def _value(value: Any) -> str:
    """Texts, numbers, truth values and lists of them; JSON writes them as TOML does, but for one character."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    written = json.dumps(valid_text(value) if isinstance(value, str) else value, ensure_ascii=False)
    return written.replace("\x7f", "\\u007f")
