"""A design as the TOML file that `gearbox experiment run` takes: what `planning.reading` reads, written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from app.experiments.planning.design import Design, NamedConfiguration, Size
from app.experiments.planning.reading import SETS, read_prompts
from app.prompts.choosing import stratified
from engine import Task
from engine.types import OptimizationConfig, SamplingParams
from engine.untrusted import valid_text

_LONGEST_FILE_NAME = 60


def file_stem(name: str) -> str:
    """A file's name without its ending, for an experiment of this name: ASCII letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_FILE_NAME].rstrip("-") or "experiment"


def design_toml(design: Design) -> str:
    """The file that describes a design. Where its prompts are one of the project's sets it reads back to the same
    design; else it names the file of :func:`own_prompts`, which has to lie beside it."""
    named = _named_set(design)
    where, size = named or (own_prompts_name(design), Size.ALL)
    baseline = design.configurations[design.baseline].name
    tree = {
        "name": design.name,
        "question": design.question or None,
        "prompts": where,
        "size": str(size),
        "baseline": baseline if design.baseline else None,
        "repeats": design.repeats,
        "seed": design.seed,
        "margin": design.margin_points,
        "passes": [str(each) for each in design.passes],
        "max_tokens": design.max_tokens,
    }
    tables = [f"[[configuration]]\n{_table(_settings(each))}" for each in design.configurations]
    return "\n".join([_table(tree), *tables])


def own_prompts_name(design: Design) -> str:
    """What the file of :func:`own_prompts` is called in :func:`design_toml`."""
    return f"{file_stem(design.name)}-prompts.jsonl"


def own_prompts(design: Design) -> str | None:
    """Its prompts as JSON lines, one each; ``None`` where they are one of the project's sets."""
    return None if _named_set(design) else "".join(map(_line, design.prompts))


def _named_set(design: Design) -> tuple[str, Size] | None:
    """The set, and how much of it, that a design's prompts are."""
    for name in SETS:
        tasks = _set(name)
        for size in Size:
            if _part(tasks, size, design.seed) == design.prompts:
                return name, size
    return None


@cache
def _set(name: str) -> tuple[Task, ...]:
    return read_prompts(name, Path())[0]


def _part(tasks: Sequence[Task], size: Size, seed: int) -> tuple[Task, ...]:
    return tuple(tasks) if size.prompts is None else stratified(tasks, size.prompts, seed)


def _line(task: Task) -> str:
    said = {name: value for name, value in task.to_dict().items() if value not in (None, "")}
    return f"{json.dumps(said, ensure_ascii=False)}\n"


def _settings(configuration: NamedConfiguration) -> Mapping[str, Any]:
    """What differs from the usual, by the file's keys."""
    config = configuration.config
    gears = config.optimization
    return {
        "name": configuration.name,
        "model": config.model,
        "backend": str(config.backend),
        "precision": str(gears.precision),
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


def _table(tree: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_value(value)}\n" for key, value in tree.items() if value is not None)


def _value(value: Any) -> str:
    """Texts, numbers, truth values and lists of them; JSON writes them as TOML does, but for one character."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    written = json.dumps(valid_text(value) if isinstance(value, str) else value, ensure_ascii=False)
    return written.replace("\x7f", "\\u007f")
