"""An experiment's design from a TOML file.

Keys of the file: ``name``, ``prompts`` (a set of the project or a file beside this one), ``[[configuration]]`` tables;
and where the usual will not do ``question``, ``size``, ``baseline``, ``repeats``, ``seed``, ``margin``, ``passes``,
``max_tokens``, ``turns`` (last, every, first) where the prompts are conversations, and ``configurations``, a file of
more of them. Each configuration has a ``model``, and what its gears need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.experiments.planning.configuration_file import read_configurations_file
from app.experiments.planning.configurations import read_configuration
from app.experiments.planning.design import Design, DesignError, NamedConfiguration, Size
from app.experiments.planning.keys import (
    LIST,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    check_keys,
    choice,
    choices,
    read_tree,
    tables,
    text,
)
from app.prompts.choosing import stratified
from app.prompts.columns import convert, guess
from app.prompts.dialogues import Turns
from app.prompts.files import read_prompt_file
from app.prompts.forms import convert_published, published_as
from app.prompts.tables import MOST_BYTES
from app.store import Pass
from engine import MIXED_FILE, Task, load_tasks
from engine.errors import InvalidRequestError

SETS: Mapping[str, Path] = {
    name: MIXED_FILE.with_name(f"{name}.jsonl") for name in ("mixed", "tasks", "samples", "speculation")
}
"""The project's own prompts, by the name that a file calls them."""
_SCORED = ("mixed", "tasks")
_SHOWN = 3
_KEYS: Mapping[str, Kind] = {
    "name": TEXT, "question": TEXT, "prompts": TEXT, "size": TEXT, "baseline": TEXT, "repeats": WHOLE, "seed": WHOLE,
    "margin": NUMBER, "passes": LIST, "max_tokens": WHOLE, "turns": TEXT,
    "configurations": TEXT, "configuration": tables("configuration"),
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
    tree = read_tree(path)
    try:
        return _design(tree, path.parent, size)
    except InvalidRequestError as error:
        raise DesignError(f"{path.name}: {error}") from error


def _design(tree: Mapping[str, Any], folder: Path, size: Size | None) -> Read:
    check_keys(tree, _KEYS, "An experiment")
    asked = read_asked(tree, folder, usual=Size.USUAL, size=size)
    found = enumerate(tree.get("configuration", []), 1)
    configurations = tuple(
        read_configuration(table, "configuration", f"configuration number {place}") for place, table in found
    )
    if "configurations" in tree:
        beside = read_configurations_file(folder / text(tree, "configurations"))
        configurations += tuple(NamedConfiguration(each.name, each.config) for each in beside)
    design = Design(
        name=text(tree, "name"),
        question=text(tree, "question", ""),
        prompts=asked.tasks,
        prompts_from=asked.told,
        configurations=configurations,
        baseline=_baseline(tree, configurations),
        repeats=tree.get("repeats", 1),
        seed=asked.seed,
        margin_points=float(tree.get("margin", 2.0)),
        passes=choices(Pass, tree, "passes", tuple(Pass)),
        max_tokens=tree.get("max_tokens"),
    )
    return Read(design, asked.notes)


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompts that a file names, at the size that it says."""

    tasks: tuple[Task, ...]
    told: str
    """What they are, for the reader."""
    notes: tuple[str, ...]
    """What the reader should know, a sentence each."""
    seed: int
    """By which they were drawn."""


def read_asked(tree: Mapping[str, Any], folder: Path, *, usual: Size, size: Size | None = None) -> Asked:
    """The prompts that a file's ``prompts``, ``size`` and ``seed`` name.

    Args:
        tree: the file.
        folder: where it lies.
        usual: how many, where it does not say.
        size: instead of what it says.

    Raises:
        InvalidRequestError: there are none that can be asked.
    """
    where, seed = text(tree, "prompts"), tree.get("seed", 0)
    tasks, notes = read_prompts(where, folder, choice(Turns, tree, "turns", Turns.LAST))
    wanted = size or choice(Size, tree, "size", usual)
    chosen = tasks if wanted.prompts is None else stratified(tasks, wanted.prompts, seed)
    told = where if len(chosen) == len(tasks) else f"{where} ({len(chosen):,} of {len(tasks):,})"
    return Asked(chosen, told, notes, seed)


def read_prompts(where: str, folder: Path, turns: Turns = Turns.LAST) -> tuple[tuple[Task, ...], tuple[str, ...]]:
    """The prompts of one of :data:`SETS` or of a file in a folder, and what the reader should know of them.

    Args:
        where: the set's name, or the file's.
        folder: where the file lies.
        turns: which messages of conversations are asked.

    Raises:
        InvalidRequestError: there are none that can be asked.
    """
    if where in _SCORED:
        return load_tasks(SETS[where]), ()
    file = SETS.get(where) or folder / where
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DesignError(f"{file.name} has more than {MOST_BYTES >> 20} MiB.")
        table = read_prompt_file(file.name, file.read_bytes())
    except OSError as error:
        sets = ", ".join(SETS)
        reason = error.strerror or error
        raise DesignError(
            f"the prompts in {where} cannot be read ({reason}). Name a file beside this one, or a set: {sets}."
        ) from error
    brought = convert_published(table, turns) if published_as(table) else convert(table, guess(table))
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
    names, wanted = [each.name for each in configurations], text(tree, "baseline")
    if wanted not in names:
        raise DesignError(f"“baseline” is “{wanted}”, which no configuration is called: {', '.join(names)}.")
    return names.index(wanted)
