"""Which installed models make a cascade: by their parameters, as far as these are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Sized(Protocol):
    """What is needed of a model; see `engine.ModelInfo`."""

    @property
    def name(self) -> str: ...
    @property
    def installed(self) -> bool: ...
    @property
    def parameters(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Pair:
    """A model, and one that may answer in front of it."""

    small: str | None
    """``None`` where no smaller one is installed."""
    large: str


def by_size(models: Sequence[Sized]) -> list[Sized]:
    """The models that can be run and whose parameters are known, the smallest first."""
    return sorted((model for model in models if model.installed and model.parameters), key=lambda m: m.parameters or 0)


def largest_pair(models: Sequence[Sized]) -> Pair | None:
    """The largest model and the largest of those below it; ``None`` without any model.

    A model of which nothing is known is taken where there is no other.
    """
    known = by_size(models)
    if not known:
        return next((Pair(None, model.name) for model in models if model.installed), None)
    large = known[-1]
    return Pair(smaller_than(large.name, models), large.name)


def smaller_than(name: str, models: Sequence[Sized]) -> str | None:
    """The largest installed model that is smaller than another one; ``None`` if there is none, or its size unknown."""
    known = by_size(models)
    size = next((model.parameters or 0 for model in known if model.name == name), 0)
    return next((model.name for model in reversed(known) if (model.parameters or 0) < size), None)


def pair_for(name: str, models: Sequence[Sized]) -> Pair | None:
    """The pair in which a model takes part: as the larger one where a smaller one is installed, else as the smaller
    one of the largest; ``None`` where no second model is installed.

    In front of a model of unknown size, such as one that was typed, stands the largest one that is known.
    """
    sizes = {model.name: model.parameters or 0 for model in by_size(models)}
    if small := smaller_than(name, models):
        return Pair(small, name)
    others = [other for other in sizes if other != name and sizes[other] != sizes.get(name)]
    if not others:
        return None
    return Pair(name, others[-1]) if name in sizes else Pair(others[-1], name)
