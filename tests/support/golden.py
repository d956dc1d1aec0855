"""An engine whose next version answers otherwise, and golden prompts picked from its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.operations.sentinel.picking import pick
from app.operations.sentinel.replaying import replay
from app.runs.answers import answer_kept
from app.runs.race import LaneRun
from app.store import GoldenAnswer, RoundCause, RunSource, RunStore
from engine.errors import GearboxError, ModelNotInstalledError
from engine.types import GenerationRequest
from tests.support.experiments import Told
from tests.support.fakes import FakeLabEngine, FakeStatus, make_request


class Versions(FakeLabEngine):
    """Answers as it is told to, and can be changed as an upgrade would change it."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.answers: dict[str, Sequence[str]] = {}
        """The tokens of an answer, by the prompt; all others get :attr:`tokens`."""
        self.weights: dict[str, str] = {}
        """Hashes by model; an empty one stands for a model that was deleted."""
        self.waiting = 0

    def says(self, request: GenerationRequest) -> Sequence[str]:
        return self.answers.get(request.prompt, self.tokens)

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        missing = self.weights.get(request.config.model) == ""
        return ModelNotInstalledError(f"{request.config.model} is not installed.") if missing else self.failure

    def weights_sha256(self, model: str) -> str:
        found = self.weights.get(model, self.WEIGHTS)
        if not found:
            raise ModelNotInstalledError(f"{model} is not installed.")
        return found

    def status(self) -> FakeStatus:
        return replace(super().status(), queued=self.waiting)


@dataclass
class Golden:
    """A store with golden prompts of an engine."""

    store: RunStore
    engine: Versions

    def pick(self, prompt: str = "Why is the sky blue?", **given: Any) -> str:
        """Ask, and pick the run."""
        run = LaneRun(make_request(prompt, **given))
        answer_kept(
            self.engine, self.store, run, person_id=None, source=RunSource.PLAYGROUND, watch=lambda _: None
        )  # fmt: skip
        assert run.run_id
        return pick(self.store, run.run_id)

    def replay(self, **given: Any) -> dict[str, GoldenAnswer]:
        """A round; the last answers by golden prompt."""
        replay(self.engine, self.store, Told(), **{"cause": RoundCause.DEMAND, "timed": 3, **given})
        return self.store.sentinel.latest()
