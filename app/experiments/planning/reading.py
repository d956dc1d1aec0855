"""An experiment's design from a TOML file.

Keys of the file: ``name``, ``prompts`` (a set of the project or a file beside this one), ``[[configuration]]`` tables;
and where the usual will not do ``question``, ``size``, ``baseline``, ``repeats``, ``seed``, ``margin``, ``passes``,
``max_tokens``. Each configuration has a ``model``, and what its gears need.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from app.experiments.planning.design import Design, DesignError, NamedConfiguration, Size
from app.prompts.choosing import stratified
from app.prompts.columns import convert, convert_published, guess, published_as
from app.prompts.tables import MOST_BYTES, read_table
from app.store import Pass
from engine import MIXED_FILE, Task, load_tasks
from engine.errors import InvalidRequestError
from engine.types import (
    DRAFT_PRECISION,
    Backend,
    CacheMode,
    CascadeConfig,
    Drafter,
    KVDtype,
    OptimizationConfig,
    Precision,
    RouterKind,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
    Tier,
)
from engine.untrusted import decode_text

E = TypeVar("E", bound=StrEnum)

SETS: Mapping[str, Path] = {
    name: MIXED_FILE.with_name(f"{name}.jsonl") for name in ("mixed", "tasks", "samples", "speculation")
}
"""The project's own prompts, by the name that a file calls them."""
_SCORED = ("mixed", "tasks")
_MOST_BYTES = 2**20
_SHOWN = 3
_TOP = (
    "name", "question", "prompts", "size", "baseline", "repeats", "seed", "margin", "passes", "max_tokens",
    "configuration",
)  # fmt: skip
_CONFIGURATION = (
    "name", "model", "backend", "precision", "cache", "kv_dtype", "window", "drafter", "draft_model",
    "draft_precision", "gamma", "smaller", "thresholds", "router", "profile", "after_tokens", "keep_tier", "guard",
    "temperature", "top_p", "top_k", "repetition_penalty", "frequency_penalty", "presence_penalty", "logit_bias",
    "json_schema", "top_logprobs", "stop",
)  # fmt: skip
_OF_A_CASCADE = ("thresholds", "router", "profile", "after_tokens", "keep_tier", "guard")
_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "repeats": (int, "a whole number"), "seed": (int, "a whole number"), "max_tokens": (int, "a whole number"),
    "window": (int, "a whole number"), "gamma": (int, "a whole number"), "top_k": (int, "a whole number"),
    "after_tokens": (int, "a whole number"), "top_logprobs": (int, "a whole number"),
    "keep_tier": (bool, "true or false"), "guard": (bool, "true or false"),
    "margin": ((int, float), "a number"), "temperature": ((int, float), "a number"),
    "top_p": ((int, float), "a number"), "repetition_penalty": ((int, float), "a number"),
    "frequency_penalty": ((int, float), "a number"), "presence_penalty": ((int, float), "a number"),
    "logit_bias": (list, "a list"),
    "passes": (list, "a list"), "smaller": (list, "a list"), "thresholds": (list, "a list"), "stop": (list, "a list"),
    "configuration": (list, "tables that begin with [[configuration]]"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Read:
    """What a file says."""

    design: Design
    notes: tuple[str, ...]
    """What the reader should know, a sentence each: prompts that were left out."""


def read_design(path: Path, *, size: Size | None = None) -> Read:
    """The design that a file describes.

    Args:
        path: the TOML file.
        size: instead of what the file says.

    Raises:
        InvalidRequestError: it is no text.
        DesignError: it cannot be read, or describes no experiment; the message names the file's own key.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DesignError(f"{path.name} has more than {_MOST_BYTES >> 20} MiB: it is no description.")
        tree = tomllib.loads(decode_text(path.read_bytes(), path.name))
    except OSError as error:
        raise DesignError(f"{path} cannot be read: {error.strerror or error}.") from error
    except tomllib.TOMLDecodeError as error:
        raise DesignError(f"{path.name} is no TOML: {error}.") from error
    try:
        return _design(tree, path.parent, size)
    except InvalidRequestError as error:
        raise DesignError(f"{path.name}: {error}") from error


def _design(tree: Mapping[str, Any], folder: Path, size: Size | None) -> Read:
    _known(tree, _TOP, "An experiment")
    where = _text(tree, "prompts")
    tasks, notes = read_prompts(where, folder)
    wanted = size or _choice(Size, tree, "size", Size.USUAL)
    seed = tree.get("seed", 0)
    chosen = tasks if wanted.prompts is None else stratified(tasks, wanted.prompts, seed)
    tables = tree.get("configuration", [])
    configurations = tuple(_configuration(table, place) for place, table in enumerate(tables, 1))
    design = Design(
        name=_text(tree, "name"),
        question=_text(tree, "question", ""),
        prompts=chosen,
        prompts_from=where if len(chosen) == len(tasks) else f"{where} ({len(chosen):,} of {len(tasks):,})",
        configurations=configurations,
        baseline=_baseline(tree, configurations),
        repeats=tree.get("repeats", 1),
        seed=seed,
        margin_points=float(tree.get("margin", 2.0)),
        passes=tuple(_one_of(Pass, each, "passes") for each in tree.get("passes", tuple(Pass))),
        max_tokens=tree.get("max_tokens"),
    )
    return Read(design, notes)


def read_prompts(where: str, folder: Path) -> tuple[tuple[Task, ...], tuple[str, ...]]:
    """The prompts of one of :data:`SETS` or of a file in a folder, and what the reader should know of them.

    Raises:
        InvalidRequestError: there are none that can be asked.
    """
    if where in _SCORED:
        return load_tasks(SETS[where]), ()
    file = SETS.get(where) or folder / where
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DesignError(f"{file.name} has more than {MOST_BYTES >> 20} MiB.")
        table = read_table(file.name, file.read_bytes())
    except OSError as error:
        sets = ", ".join(SETS)
        reason = error.strerror or error
        raise DesignError(
            f"the prompts in {where} cannot be read ({reason}). Name a file beside this one, or a set: {sets}."
        ) from error
    brought = convert_published(table) if published_as(table) else convert(table, guess(table))
    if not brought.tasks:
        raise DesignError(f"{where} has no prompt that can be asked. The first reason: {brought.left_out[0]}.")
    notes = brought.notes
    if left_out := brought.left_out:
        first = "; ".join(map(str, left_out[:_SHOWN]))
        notes = (*notes, f"Rows of {where} that are left out: {len(left_out):,} ({first}).")
    return brought.tasks, notes


def _baseline(tree: Mapping[str, Any], configurations: Sequence[NamedConfiguration]) -> int:
    if "baseline" not in tree:
        return 0
    names, wanted = [each.name for each in configurations], _text(tree, "baseline")
    if wanted not in names:
        raise DesignError(f"“baseline” is “{wanted}”, which no configuration is called: {', '.join(names)}.")
    return names.index(wanted)


def _configuration(table: Any, place: int) -> NamedConfiguration:
    if not isinstance(table, dict):
        raise DesignError("“configuration” must be tables: begin each with [[configuration]].")
    name = table.get("name", f"number {place}")
    try:
        _known(table, _CONFIGURATION, "A configuration")
        model = _text(table, "model")
        precision = _choice(Precision, table, "precision", Precision.BF16)
        config = RunConfig(
            model=model,
            backend=_choice(Backend, table, "backend", Backend.LOCAL),
            optimization=OptimizationConfig.at(
                precision,
                _choice(CacheMode, table, "cache", CacheMode.KV),
                _choice(KVDtype, table, "kv_dtype", KVDtype.BF16),
                table.get("window"),
                _speculation(table),
                _cascade(table),
            ),
            sampling=SamplingParams(
                temperature=float(table.get("temperature", 0.0)),
                top_p=float(table.get("top_p", 1.0)),
                top_k=table.get("top_k", 0),
                repetition_penalty=float(table.get("repetition_penalty", 1.0)),
                frequency_penalty=float(table.get("frequency_penalty", 0.0)),
                presence_penalty=float(table.get("presence_penalty", 0.0)),
                logit_bias=_biases(table),
                json_schema=table.get("json_schema"),
                top_logprobs=table.get("top_logprobs", 0),
                stop=tuple(_texts(table, "stop")),
            ),
        )
    except InvalidRequestError as error:
        raise DesignError(f"configuration “{name}”: {error}") from error
    return NamedConfiguration(_text(table, "name", f"{model} {precision}"), config)


def _speculation(table: Mapping[str, Any]) -> SpeculationConfig | None:
    if "drafter" not in table:
        if further := [key for key in ("draft_model", "draft_precision", "gamma") if key in table]:
            raise DesignError(f"“{further[0]}” needs a “drafter”: {', '.join(Drafter)}.")
        return None
    drafter = _choice(Drafter, table, "drafter", Drafter.AUTO)
    held = DRAFT_PRECISION if drafter.info.has_precision else None
    return SpeculationConfig(
        drafter=drafter,
        draft_model=_text(table, "draft_model") if "draft_model" in table else None,
        draft_precision=_choice(Precision, table, "draft_precision", held) if "draft_precision" in table else held,
        gamma=table.get("gamma"),
    )


def _cascade(table: Mapping[str, Any]) -> CascadeConfig | None:
    if "smaller" not in table:
        if further := [key for key in _OF_A_CASCADE if key in table]:
            raise DesignError(f"“{further[0]}” needs “smaller”: the tiers in front of the model.")
        return None
    thresholds = table.get("thresholds", ())
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in thresholds):
        raise DesignError("“thresholds” must be numbers between 0 and 1, one for each smaller tier.")
    return CascadeConfig(
        smaller=tuple(map(_tier, _texts(table, "smaller"))),
        thresholds=tuple(map(float, thresholds)),
        router=_choice(RouterKind, table, "router", RouterKind.ESCALATE),
        profile=table.get("profile"),
        after_tokens=table.get("after_tokens"),
        keep_tier=table.get("keep_tier", False),
        guard=table.get("guard", True),
    )


def _biases(table: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    biases = table.get("logit_bias", [])
    if not all(
        isinstance(each, list) and len(each) == 2 and type(each[0]) is int and type(each[1]) in (int, float)
        for each in biases
    ):
        raise DesignError("“logit_bias” must be a list of pairs: a token's id and what is added, such as [[11, -5.0]].")
    return tuple((token_id, bias) for token_id, bias in biases)


def _tier(key: str) -> Tier:
    model, at, precision = key.rpartition("@")
    if not at:
        raise DesignError(f"“smaller” names “{key}”: write model@precision, such as smollm2-135m@int4.")
    return Tier(model=model, precision=_one_of(Precision, precision, "smaller"))


# --- values -------------------------------------------------------------------------------------------


def _known(tree: Mapping[str, Any], keys: Sequence[str], what: str) -> None:
    for key, value in tree.items():
        if key not in keys:
            raise DesignError(f"“{key[:60]}” is not known here. {what} has: {', '.join(keys)}.")
        kind, words = _KINDS.get(key, (str, "a text"))
        if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
            raise DesignError(f"“{key}” must be {words}.")


def _text(tree: Mapping[str, Any], key: str, usual: str | None = None) -> str:
    value = tree.get(key, usual)
    if value is None:
        raise DesignError(f"“{key}” is missing.")
    return str(value)


def _texts(tree: Mapping[str, Any], key: str) -> list[str]:
    values = tree.get(key, [])
    if not all(isinstance(value, str) for value in values):
        raise DesignError(f"“{key}” must be a list of texts.")
    return list(values)


def _choice(kind: type[E], tree: Mapping[str, Any], key: str, usual: E | None) -> E:
    return _one_of(kind, tree.get(key, usual), key)


def _one_of(kind: type[E], value: Any, key: str) -> E:
    if value not in list(kind):
        raise DesignError(f"“{key}” is “{str(value)[:60]}”. There are: {', '.join(kind)}.")
    return kind(value)
