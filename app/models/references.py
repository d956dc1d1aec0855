"""What is stored here that was made with a model: it stays when the model goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app import units
from app.store import RunFilter, RunStatus, RunStore

_MOST_NAMED = 5
_READ_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """How much of it there is."""

    running: int
    """Runs in which it answers, drafts, or is a tier right now, in whatever process."""
    runs: int
    """Runs that it answered."""
    configurations: tuple[str, ...]
    """Names of saved configurations in which it answers, drafts, or is a tier."""
    experiments: tuple[str, ...]
    """Names of experiments and autopilots that ask it."""


def references_to(model: str, store: RunStore) -> References:
    """What is stored that was made with a model.

    Args:
        model: its name.
        store: all that is kept, whoever asks.

    Raises:
        StoreError: the database cannot be read.
    """
    totals = store.totals(RunFilter(models=(model,)))
    asked = [
        *((each.name, each.design) for each in store.experiments.all()),
        *((each.name, each.plan) for each in store.autopilots.all()),
    ]
    return References(
        running=_running(model, store),
        runs=totals.runs,
        configurations=tuple(each.name for each in store.configurations.everybodys() if _names(each.config, model)),
        experiments=tuple(name for name, design in asked if _names(design, model)),
    )


def _running(model: str, store: RunStore) -> int:
    """How many of the runs under way need it."""
    under_way, found, offset = RunFilter(statuses=(RunStatus.RUNNING,)), 0, 0
    while rows := store.page(under_way, limit=_READ_AT_ONCE, offset=offset).rows:
        offset += len(rows)
        found += sum(_names({"model": row.model, "gears": asdict(row.gears)}, model) for row in rows)
    return found


def stays_in_words(references: References) -> list[str]:
    """What stays when the model goes, a line each: "3 runs", "2 saved configurations: “fast”, “small”"."""
    parts = [
        (units.counted(references.runs, "run") if references.runs else "", ()),
        (_counted(references.configurations, "saved configuration"), references.configurations),
        (_counted(references.experiments, "experiment"), references.experiments),
    ]
    return [f"{count}{_listed(names)}" for count, names in parts if count]


def _counted(names: tuple[str, ...], noun: str) -> str:
    return units.counted(len(names), noun) if names else ""


def _listed(names: tuple[str, ...]) -> str:
    listed = ", ".join(f"“{name}”" for name in names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return f": {listed}{more}" if names else ""


def _names(value: Any, model: str) -> bool:
    """Whether a model is named anywhere in a configuration."""
    if isinstance(value, Mapping):
        return any(_names(inner, model) for inner in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_names(inner, model) for inner in value)
    return bool(value == model)
