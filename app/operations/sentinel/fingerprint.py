"""With what something was answered: weights, kernels, version and machine, of what every run records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from app.environment import app_environment
from app.experiments.planning.design import NamedConfiguration
from engine.errors import GearboxError
from engine.types import RunConfig

NOT_INSTALLED = "not installed"
"""In place of the hash of a model's weights that are not there, or cannot be used."""
_MODELS = "models"
_LABELS = {
    "kernel": "Kernels", "native_kernels": "Kernels' build", "git_commit": "Gearbox", "torch": "PyTorch",
    "transformers": "transformers", "bitsandbytes": "bitsandbytes", "python": "Python", "device": "Device",
    "cpu": "Processor", "cpu_capability": "Instructions", "threads": "Threads", "platform": "System",
}  # fmt: skip
_MACHINE = ("device", "cpu", "cpu_capability", "threads")
_LONGEST = 12
"""Characters that are shown of a hash."""


class KnowsWeights(Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def weights_sha256(self, model: str) -> str: ...


def models_of(config: RunConfig) -> tuple[str, ...]:
    """Whose weights may have a part in an answer, each once."""
    return NamedConfiguration("", config).models


def installed_weights(engine: KnowsWeights, models: tuple[str, ...]) -> dict[str, str]:
    """By model, the hash of the weights that are installed now. Blocks until the engine gets to it."""
    found = {}
    for model in models:
        try:
            found[model] = engine.weights_sha256(model)
        except GearboxError:  # that it is not there is a state like any other
            found[model] = NOT_INSTALLED
    return found


def fingerprint(environment: Mapping[str, Any], models: Mapping[str, str]) -> dict[str, Any]:
    """Of a run.

    Args:
        environment: as it was recorded.
        models: hashes of the weights that had a part in it.
    """
    known = {name: environment[name] for name in _LABELS if environment.get(name) is not None}
    return {**known, _MODELS: dict(models)}


def of_record(environment: Mapping[str, Any], config: RunConfig) -> dict[str, Any]:
    """Of a run that the store has: of several models, it says with which weights one of them answered."""
    models, sha256 = models_of(config), environment.get("weights_sha256")
    return fingerprint(environment, {models[0]: sha256} if sha256 and len(models) == 1 else {})


def before_running(models: Mapping[str, str]) -> dict[str, Any]:
    """What is known of an answer that would be given now."""
    known = fingerprint(app_environment(), models)
    known.pop("device", None)  # which one it is, the engine tells once it has answered
    return known


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """In what two fingerprints differ, of what both say, a clause each."""
    found = []
    old, new = before.get(_MODELS, {}), now.get(_MODELS, {})
    for model in old:
        if model in new and old[model] != new[model]:
            found.append(f"Weights of {model}: {_short(old[model])} → {_short(new[model])}")
    for name, label in _LABELS.items():
        if name in before and name in now and before[name] != now[name]:
            found.append(f"{label}: {_short(before[name])} → {_short(now[name])}")
    return tuple(found)


def same_machine(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether times of both can be held against each other."""
    return all(one.get(name) == other.get(name) for name in _MACHINE)


def _short(value: object) -> str:
    """A hash's beginning; all else whole."""
    text = str(value)
    is_hash = len(text) > 2 * _LONGEST and all(each in "0123456789abcdef" for each in text.removesuffix("-dirty"))
    return text[:_LONGEST] + ("-dirty" if text.endswith("-dirty") else "") if is_hash else text
