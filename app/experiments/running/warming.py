"""Models are warm before anything is timed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from app.runs.answers import RunNotFinishedError, answer_unkept
from app.runs.live_run import LiveRun
from app.runs.service import InferenceEngine
from engine import EngineStatus
from engine.types import Backend, GenerationRequest, Precision, RunConfig

_TOKENS = 4
"""Of an answer that warms up."""


class WarmingEngine(InferenceEngine, Protocol):
    """What is needed of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...


@dataclass(slots=True)
class WarmUp:
    """Which configurations one job has seen to be warm."""

    engine: WarmingEngine
    watch: Callable[[LiveRun], object]
    """Told of an answer that warms up; what it raises ends it."""
    _done: set[int] = field(default_factory=set, init=False)

    def before(self, configuration: int, request: GenerationRequest) -> None:
        """Before the first request of each configuration, have its models loaded, and their first passes made, unless
        they are in memory, where the engine has seen to it. What keeps it from that, the request itself tells.

        Raises:
            EngineClosedError: the engine has been closed.
        """
        if configuration in self._done:
            return
        self._done.add(configuration)
        resident = {(each.model, each.backend, each.precision) for each in self.engine.status().resident}
        if not _copies(request.config) <= resident:
            sampling = request.config.sampling
            short = replace(sampling, max_tokens=min(_TOKENS, sampling.max_tokens))
            config, salt = replace(request.config, sampling=short), f"{request.cache_salt} warm-up"
            with suppress(RunNotFinishedError):
                answer_unkept(self.engine, replace(request, config=config, cache_salt=salt), self.watch)


def _copies(config: RunConfig) -> set[tuple[str, Backend, Precision]]:
    """The copies of weights that a configuration needs in memory."""
    tiers = [(tier.model, tier.precision) for tier in config.ladder]
    speculation = config.optimization.speculation
    if speculation is not None and speculation.draft_precision is not None:
        tiers.append((speculation.draft_model or config.model, speculation.draft_precision))
    return {(model, config.backend, precision) for model, precision in tiers}
