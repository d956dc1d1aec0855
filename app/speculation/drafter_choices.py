"""Which drafters suit a model, asked of the engine in the background and kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report
from app.speculation.drafters import drafter_key, drafter_of
from engine import list_models
from engine.types import DrafterChoice, Precision


class DraftingEngine(Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def drafters(self, model: str, precision: Precision) -> tuple[DrafterChoice, ...]: ...


class DrafterChoices:
    """Asks once for each model, precision and set of installed models. Safe to use from any thread."""

    def __init__(self, engine: DraftingEngine, jobs: Jobs, models_dir: Path) -> None:
        self._engine = engine
        self._models_dir = models_dir
        self._computed: Computed[tuple[DrafterChoice, ...]] = Computed(jobs)

    def of(self, model: str, precision: Precision) -> tuple[DrafterChoice, ...] | None:
        """Every drafter there could be; ``None`` until the engine has got to it, empty where it cannot tell."""
        found = self._computed.ask(self._key(model, precision), partial(self._compute, model, precision))
        if isinstance(found, JobState):
            return None if found.running else ()
        return found

    def refresh(self, model: str, precision: Precision) -> None:
        """Ask again: a model that is in memory since then has been timed. Until then the old answer stands."""
        self._computed.start(self._key(model, precision), partial(self._compute, model, precision))

    def _key(self, model: str, precision: Precision) -> str:
        installed = sorted(info.name for info in list_models(self._models_dir) if info.installed)
        return f"drafters of {model} {precision} among {', '.join(installed)}"

    def _compute(self, model: str, precision: Precision, _report: Report) -> tuple[DrafterChoice, ...]:
        return self._engine.drafters(model, precision)


def choice_of(key: str, model: str, choices: Sequence[DrafterChoice]) -> DrafterChoice | None:
    """What is known of the drafter with a widget's key; ``None`` for ``auto`` and where nothing is."""
    wanted = drafter_of(key)
    # one that cannot draft has no gear to compare with, only its name: a copy's "model precision", or the model
    name = wanted.draft_model or f"{model} {wanted.draft_precision}"
    for choice in choices:
        if choice.speculation is None and choice.name == name:
            return choice
        if choice.speculation is not None and drafter_key(choice.speculation) == key:
            return choice
    return None
