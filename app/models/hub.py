"""The model hub as the Models page asks it: in the background, each question once, in words where it is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.background.computed import Computed
from app.background.jobs import Jobs, JobState, Report, Work
from engine import (
    HubFile,
    HubGguf,
    HubListing,
    HubModel,
    Plan,
    WeightsEstimate,
    download_model,
    estimate_hub,
    look_at_hub,
    look_at_hub_gguf,
    search_hub,
)
from engine.errors import DeviceUnavailableError, HubUnreachableError
from engine.types import DeviceChoice

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The hub cannot be asked from here."""

    why: str
    """For the user, in a sentence."""


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A model of the hub."""

    model: HubModel
    weights: Mapping[str, WeightsEstimate]
    """Of its checkpoint, by precision; empty where that is not known, or no device to run on is there."""


class HubModels:
    """Searches and looks in the background. Safe to use from any thread."""

    def __init__(self, jobs: Jobs, models_dir: Path, device: DeviceChoice = DeviceChoice.AUTO) -> None:
        self._models_dir = models_dir
        self._device = device
        self._searched: Computed[list[HubListing] | Unreachable] = Computed(jobs)
        self._looked: Computed[LookedAt | Unreachable] = Computed(jobs)
        self._ggufs: Computed[HubGguf | Unreachable] = Computed(jobs)
        self._added: dict[str, str] = {}
        """Names of models by the key of the download that they came with."""

    def search(self, words: str, *, again: bool = False) -> list[HubListing] | Unreachable | JobState:
        """What the hub has, or how far the search is; ``again`` asks anew."""
        return _asked(self._searched, f"search {words}", lambda: search_hub(words), again)

    def look(self, repository: str, *, again: bool = False) -> LookedAt | Unreachable | JobState:
        """What a model is, or how far the look is: its error says why it cannot be looked at."""

        def look() -> LookedAt:
            model = look_at_hub(repository)
            weights: Mapping[str, WeightsEstimate] = {}
            with suppress(DeviceUnavailableError):
                weights = dict(estimate_hub(model, self._device).items())
            return LookedAt(model, weights)

        return _asked(self._looked, f"look at hub {repository}", look, again)

    def look_at_gguf(self, model: HubModel, file: HubFile, *, again: bool = False) -> HubGguf | Unreachable | JobState:
        """What a GGUF file of a model is, by its head; otherwise as :meth:`look`."""
        key = f"look at hub {model.repository} {model.revision} {file.name}"
        return _asked(self._ggufs, key, lambda: look_at_hub_gguf(model, file, self._device), again)

    def downloading(self, plan: Plan) -> Work:
        """The work of a download, for a job of the key that :func:`download_key` gives. What is here is not fetched
        again."""

        def work(report: Report) -> None:
            self._added[plan.key] = download_model(plan, self._models_dir, report).name

        return work

    def added(self, plan: Plan) -> str | None:
        """Under which name it was downloaded since the server started, as long as that model is there."""
        name = self._added.get(plan.key)
        return name if name and (self._models_dir / name / "config.json").is_file() else None


def download_key(plan: Plan) -> str:
    """The key of the job that downloads it."""
    return f"download {plan.key}"


def _asked(
    computed: Computed[T | Unreachable], key: str, question: Callable[[], T], again: bool
) -> T | Unreachable | JobState:
    def compute(report: Report) -> T | Unreachable:
        report("Asking the model hub", 0.0)
        try:
            return question()
        except HubUnreachableError as error:
            return Unreachable(str(error))

    if again:
        computed.forget(key)
        computed.start(key, compute)
        return JobState("running")
    return computed.ask(key, compute)
