"""What clients can name as their model: models that are installed or servers', and configurations that people saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.api.errors import ApiError
from app.store import RunStore, SavedConfiguration
from engine import find_model, list_models
from engine.errors import InvalidRequestError
from engine.types import Backend, CacheMode, OptimizationConfig, Precision, RunConfig, SamplingParams, is_remote

CONFIGURATION = "gearbox/"
"""Begins the names of saved configurations."""
OWNER = "gearbox"
DEFAULT_MAX_TOKENS = 1024
"""Of a chat answer for which nobody says otherwise."""
_OPENAI_TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class Served:
    """One thing that answers."""

    name: str
    """As ``/v1/models`` lists it."""
    created: int
    """Seconds since 1970: when the configuration was saved or the server added, or 0 for an installed model."""
    config: RunConfig
    """What it runs with where a call says nothing else."""
    cold: bool = False
    """Whether each answer begins without what earlier ones kept."""


class Catalogue:
    """What can be named. Its methods read files and the database: not for the event loop."""

    def __init__(self, models_dir: Path, store: Callable[[], RunStore]) -> None:
        """
        Args:
            models_dir: where models are installed.
            store: where configurations are saved.
        """
        self._models_dir = models_dir
        self._store = store
        self._seen: frozenset[str] = frozenset()
        """Models that were installed when somebody last looked, which takes a while."""

    def all(self) -> list[Served]:
        """Everything, the models first, then those of servers.

        Raises:
            StoreError: the database cannot be read.
        """
        saved = self._store().configurations.everybodys()
        remotes = (_remote(each.name, int(each.created_at.timestamp())) for each in self._store().remotes.all())
        return [*map(_model, self.installed()), *remotes, *_named(saved)]

    def find(self, name: str) -> Served:
        """What a call's ``model`` means: a listed name, or the id of a saved configuration.

        Raises:
            ApiError: there is none of that name, or the configuration is none any more.
            StoreError: the database cannot be read.
        """
        if name in self._seen:  # one that is gone since is missed by the engine
            return _model(name)
        if is_remote(name) and (remote := self._store().remotes.named(name)):
            return _remote(name, int(remote.created_at.timestamp()))
        saved = self._store().configurations.everybodys()
        for served in _named(saved):
            if served.name == name:
                return served
        for kept in saved:
            if name in (kept.id, CONFIGURATION + kept.id):
                return _configuration(kept, CONFIGURATION + kept.id)
        if (found := find_model(name, self._models_dir)) and found.installed:
            self._seen |= {name}
            return _model(name)
        raise ApiError(
            404,
            "There is no model of that name here: GET /v1/models lists them."
            if self.installed()
            else "No model is installed here yet: the Models page and `gearbox models install` do it.",
            code="model_not_found",
            param="model",
        )

    def installed(self) -> list[str]:
        """The models that can answer, by name."""
        models = [model.name for model in list_models(self._models_dir) if model.installed]
        self._seen = frozenset(models)
        return models


def _model(name: str) -> Served:
    """A model by itself: in int4, reusing what is kept of the caller's prompts, and sampling as OpenAI's API does."""
    config = RunConfig(
        model=name,
        optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX),
        sampling=SamplingParams(temperature=_OPENAI_TEMPERATURE, max_tokens=DEFAULT_MAX_TOKENS),
    )
    return Served(name, 0, config)


def _remote(name: str, created: int) -> Served:
    """A server's model, sampling as OpenAI's API does."""
    sampling = SamplingParams(temperature=_OPENAI_TEMPERATURE, max_tokens=DEFAULT_MAX_TOKENS)
    return Served(name, created, RunConfig(model=name, backend=Backend.REMOTE, sampling=sampling))


def _named(saved: Sequence[SavedConfiguration]) -> list[Served]:
    """Saved configurations, each name once: the desk's before a person's, then the latest. The others go by their id.
    One that is none any more is left out."""
    names: set[str] = set()
    served = []
    for kept in sorted(saved, key=lambda kept: (kept.person is not None, -kept.saved_at.timestamp(), kept.id)):
        name = CONFIGURATION + (kept.id if kept.name in names else kept.name)
        names.add(kept.name)
        try:
            served.append(_configuration(kept, name))
        except ApiError:
            continue
    return sorted(served, key=lambda each: each.name)


def _configuration(kept: SavedConfiguration, name: str) -> Served:
    try:
        config = RunConfig.from_dict(kept.config)
    except (InvalidRequestError, KeyError, TypeError, ValueError) as error:
        raise ApiError(
            404, "This saved configuration cannot be used any more.", code="model_not_found", param="model"
        ) from error
    return Served(name, int(kept.saved_at.timestamp()), config, cold=not kept.warm)
