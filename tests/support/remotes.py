"""Models of servers, for tests: which there are, and what came of asking them."""

from __future__ import annotations

from typing import Any

from engine import Engine
from engine.types import (
    Backend,
    Event,
    GenerationRequest,
    Heartbeat,
    Message,
    RemoteModel,
    RemoteReport,
    RunConfig,
    RunFailed,
    RunFinished,
    RunMetrics,
    SamplingParams,
    TokenEvent,
)

OFFICE = "@office"


class Servers:
    """Those that an engine is told of."""

    engine: Engine

    def __init__(self) -> None:
        self.models: dict[str, RemoteModel] = {}

    def find(self, name: str) -> RemoteModel | None:
        return self.models.get(name)

    def add(self, url: str, name: str = OFFICE, **more: Any) -> RemoteModel:
        """A server's model, from now on."""
        self.models[name] = RemoteModel(name=name, url=url, served_name="served", **more)
        return self.models[name]

    def ask(self, prompt: str = "Hello there", name: str = OFFICE, **sampling: Any) -> list[Event]:
        """What came of a request, but for heartbeats, which a busy machine has more of."""
        events = self.engine.generate(asked_of(name, prompt, **sampling))
        return [event for event in events if not isinstance(event, Heartbeat)]

    def finish(self, prompt: str = "Hello there", name: str = OFFICE, **sampling: Any) -> RunFinished:
        """The end of a run that is to end well."""
        last = self.ask(prompt, name, **sampling)[-1]
        assert isinstance(last, RunFinished), last
        return last

    def failure(self, prompt: str = "Hello there", name: str = OFFICE, **sampling: Any) -> str:
        """Why a run failed that is to fail."""
        last = self.ask(prompt, name, **sampling)[-1]
        assert isinstance(last, RunFailed), last
        return last.error


def asked_of(name: str, prompt: str = "Hello there", **sampling: Any) -> GenerationRequest:
    """A request to a server's model."""
    config = RunConfig(model=name, backend=Backend.REMOTE, sampling=SamplingParams(**sampling))
    return GenerationRequest(messages=(Message("user", prompt),), config=config)


def report_of(run: RunFinished) -> RemoteReport:
    """What is known of a run on a server."""
    report = RemoteReport.of(run.environment)
    assert report is not None
    return report


def metrics_of(run: RunFinished) -> RunMetrics:
    assert run.metrics is not None
    return run.metrics


def tokens_of(events: list[Event]) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent)]
