"""What is stored here that was made with a model: it stays when the model goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.store import RunFilter, RunStore


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """How much of it there is."""

    running: int
    """Runs that it answers right now, in whatever process."""
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
        running=totals.running,
        runs=totals.runs,
        configurations=tuple(each.name for each in store.configurations.everybodys() if _names(each.config, model)),
        experiments=tuple(name for name, design in asked if _names(design, model)),
    )


def _names(value: Any, model: str) -> bool:
    """Whether a model is named anywhere in a configuration."""
    if isinstance(value, Mapping):
        return any(_names(inner, model) for inner in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(_names(inner, model) for inner in value)
    return bool(value == model)
