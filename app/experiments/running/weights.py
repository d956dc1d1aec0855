"""Which weights an experiment is made with: the same from its first cell to its last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from app.experiments.planning.design import Design
from app.store import Cell, CellKey
from engine.errors import GearboxError


class ExperimentError(GearboxError):
    """An experiment cannot go on as things are; what it has is kept."""


class CannotAnswerError(ExperimentError):
    """A configuration cannot answer here, whatever the prompt: its model is too large, or not there."""

    def __init__(self, configuration: str, message: str) -> None:
        super().__init__(message)
        self.configuration = configuration
        """Its name."""


class KnowsWeights(Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def weights_sha256(self, model: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights that are installed of a design's models."""

    design: Design
    sha256: Mapping[str, str]
    """By model."""

    @classmethod
    def installed(cls, design: Design, engine: KnowsWeights) -> Self:
        """As an engine has them.

        Raises:
            GearboxError: a model is not there, or cannot be run.
        """
        return cls(design, {model: engine.weights_sha256(model) for model in models_of(design)})

    def of(self, key: CellKey) -> str:
        """Of all models of a cell's configuration together; of one its own."""
        models = self.design.configurations[key.configuration].models
        if len(models) == 1:
            return self.sha256[models[0]]
        return hashlib.sha256("\n".join(self.sha256[model] for model in models).encode()).hexdigest()

    def check(self, cells: Iterable[Cell]) -> None:
        """See that cells were made with them.

        Raises:
            ExperimentError: one was not.
        """
        for cell in cells:
            if cell.weights_sha256 != self.of(cell.key):
                raise self._changed(cell.key)

    def check_run(self, key: CellKey, weights_sha256: str | None) -> None:
        """See that a run was made with them, as far as the engine says with which it was. Of a configuration with
        several models it names one of them, and nothing is seen.

        Raises:
            ExperimentError: it was not.
        """
        models = self.design.configurations[key.configuration].models
        if len(models) == 1 and weights_sha256 not in (None, self.sha256[models[0]]):
            raise self._changed(key)

    def _changed(self, key: CellKey) -> ExperimentError:
        configuration = self.design.configurations[key.configuration]
        return ExperimentError(
            f"The weights of {' or '.join(configuration.models)} are not those that “{configuration.name}” began with: "
            "the model was installed anew since. Answers of two models in one column would prove nothing. Put the "
            "earlier one back to go on, or begin the experiment anew under another name."
        )


def models_of(design: Design) -> tuple[str, ...]:
    """Whose weights a design needs, each once."""
    return tuple(dict.fromkeys(model for each in design.configurations for model in each.models))
