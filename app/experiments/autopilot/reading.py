"""An autopilot's plan from a TOML file.

Keys of the file: ``prompts``, ``seconds`` and a ``[baseline]`` table; and where the usual will not do ``name``,
``size``, ``latency``, ``percentile``, ``margin``, ``memory``, ``minutes``, ``seed``, ``max_tokens``. What is tried is
drawn from ``models``, ``precisions`` and ``gears``, by default all that this machine has, or stands there as
``[[candidate]]`` tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from app import units
from app.experiments.autopilot.goal import MARGIN_POINTS, MINUTES, PERCENTILE, Figure, Goal
from app.experiments.autopilot.plan import Plan, hold_out
from app.experiments.autopilot.space import Candidates, Gear, Space, candidates
from app.experiments.planning.configurations import read_configuration
from app.experiments.planning.design import DesignError, NamedConfiguration, Size
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
    table,
    tables,
    text,
    texts,
)
from app.experiments.planning.reading import read_asked
from engine.errors import InvalidRequestError
from engine.types import Precision, RunConfig

_GIB = 2**30
_KEYS: Mapping[str, Kind] = {
    "name": TEXT, "prompts": TEXT, "size": TEXT, "seed": WHOLE, "max_tokens": WHOLE, "turns": TEXT,
    "latency": TEXT, "percentile": WHOLE, "seconds": NUMBER, "margin": NUMBER, "memory": NUMBER, "minutes": NUMBER,
    "baseline": table("baseline"), "candidate": tables("candidate"),
    "models": LIST, "precisions": LIST, "gears": LIST,
}  # fmt: skip
_DRAWN_FROM = ("models", "precisions", "gears")


class Machine(Protocol):
    """What candidates are drawn from."""

    def models(self) -> Sequence[str]:
        """The installed ones, the smallest first."""
        ...

    def precisions(self) -> Sequence[Precision]:
        """Those that run here."""
        ...

    def drafts(self, models: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """By model, which others of these can draft for it."""
        ...


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What a file says."""

    plan: Plan
    notes: tuple[str, ...]
    """What the reader should know, a sentence each: prompts that were left out, combinations that cannot be."""


def read_plan(path: Path, machine: Machine) -> ReadPlan:
    """The plan that a file describes.

    Args:
        path: the TOML file.
        machine: asked where the file does not name the candidates.

    Raises:
        InvalidRequestError: it is no text.
        DesignError: it cannot be read, or describes no plan; the message names the file's own key.
        GearboxError: the machine cannot be asked.
    """
    tree = read_tree(path)
    try:
        return _plan(tree, path.parent, machine)
    except InvalidRequestError as error:
        raise DesignError(f"{path.name}: {error}") from error


def _plan(tree: Mapping[str, Any], folder: Path, machine: Machine) -> ReadPlan:
    check_keys(tree, _KEYS, "An autopilot")
    goal, baseline = _goal(tree), _baseline(tree)
    asked = read_asked(tree, folder, usual=Size.ALL)
    found = _candidates(tree, baseline.config, machine, asked.seed)
    if not found.configurations:
        raise DesignError("nothing is left to try: name other “models”, “precisions” or “gears”.")
    plan = Plan(
        name=text(tree, "name", f"{goal.latency_name} within {units.seconds(goal.seconds)}"),
        goal=goal,
        baseline=baseline,
        candidates=found.configurations,
        possible=found.possible,
        prompts=asked.tasks,
        prompts_from=asked.told,
        held_out=hold_out(asked.tasks, asked.seed),
        seed=asked.seed,
        max_tokens=tree.get("max_tokens"),
    )
    notes = asked.notes
    if found.skipped:
        why = max(found.skipped, key=lambda reason: found.skipped[reason])
        notes = (*notes, f"Combinations left out: {sum(found.skipped.values()):,}, such as: {why}")
    return ReadPlan(plan, notes)


def _goal(tree: Mapping[str, Any]) -> Goal:
    if "seconds" not in tree:
        raise DesignError("“seconds” is missing: the most that the latency may take.")
    memory = tree.get("memory")
    return Goal(
        figure=choice(Figure, tree, "latency", Figure.E2E),
        percentile=tree.get("percentile", PERCENTILE),
        seconds=float(tree["seconds"]),
        margin_points=float(tree.get("margin", MARGIN_POINTS)),
        memory_bytes=None if memory is None else memory * _GIB,
        budget_s=60.0 * tree.get("minutes", MINUTES),
    )


def _baseline(tree: Mapping[str, Any]) -> NamedConfiguration:
    if "baseline" not in tree:
        raise DesignError("“baseline” is missing: what is in use now, a table that begins with [baseline].")
    read = read_configuration(tree["baseline"], "baseline", "baseline")
    return read if "name" in tree["baseline"] else replace(read, name=f"{read.name} (baseline)")


def _candidates(tree: Mapping[str, Any], baseline: RunConfig, machine: Machine, seed: int) -> Candidates:
    if "candidate" in tree:
        if further := [key for key in _DRAWN_FROM if key in tree]:
            raise DesignError(f"“{further[0]}” is of no use beside [[candidate]] tables: leave one of the two out.")
        found = enumerate(tree["candidate"], 1)
        named = tuple(read_configuration(each, "candidate", f"candidate number {place}") for place, each in found)
        return Candidates(named, len(named), {})
    gears = tuple(dict.fromkeys(choices(Gear, tree, "gears", tuple(Gear))))
    models = _models(tree, machine.models())
    drafts = machine.drafts(models) if Gear.SPECULATION in gears else {}
    precisions = choices(Precision, tree, "precisions", tuple(machine.precisions()))
    space = Space(models=models, precisions=tuple(dict.fromkeys(precisions)), gears=gears, drafts=drafts)
    return candidates(space, baseline, seed=seed)


def _models(tree: Mapping[str, Any], installed: Sequence[str]) -> tuple[str, ...]:
    """The smallest first."""
    if "models" not in tree:
        return tuple(installed)
    wanted = texts(tree, "models")
    if missing := [name for name in wanted if name not in installed]:
        raise DesignError(f"“models” names “{missing[0][:60]}”, which is not installed. There are: {_list(installed)}.")
    return tuple(name for name in installed if name in wanted)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
