"""A real server with an engine that asks it for "@server", and what came of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine import Engine
from engine.types import (
    Backend,
    Event,
    GenerationRequest,
    Message,
    RemoteModel,
    RemoteReport,
    RunConfig,
    RunFailed,
    RunFinished,
    SamplingParams,
    TokenEvent,
)
from tests.support.model_servers import ModelServer, Software

NAME = "@server"
ENDLESS = "Write the numbers from 1 to 900, separated by commas: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, …"
LONG = " ".join(f"Rule {number}: answer in plain words, and never in more than a line." for number in range(40))
"""Several hundred tokens: vLLM keeps prefixes by the block, of 128 tokens on a CPU."""


@dataclass
class Asked:
    """What came of a run."""

    events: list[Event] = field(default_factory=list)

    @property
    def tokens(self) -> list[TokenEvent]:
        return [event for event in self.events if isinstance(event, TokenEvent)]

    @property
    def finished(self) -> RunFinished:
        assert isinstance(self.events[-1], RunFinished), self.events[-1]
        return self.events[-1]

    @property
    def failed(self) -> RunFailed:
        assert isinstance(self.events[-1], RunFailed), self.events[-1]
        return self.events[-1]

    @property
    def text(self) -> str:
        return self.finished.text

    @property
    def report(self) -> RemoteReport:
        report = RemoteReport.of(self.finished.environment)
        assert report
        return report


@dataclass(frozen=True)
class Served:
    """A server, and an engine that knows it."""

    server: ModelServer
    engine: Engine
    model: RemoteModel

    @property
    def software(self) -> Software:
        return self.server.software

    @property
    def running(self) -> str | None:
        """The series of its `/metrics` that counts what it works on; ``None`` where it has none."""
        return {
            "vLLM": "vllm:num_requests_running",
            "Gearbox": "vllm:num_requests_running",
            "llama-server": "llamacpp:requests_processing",
        }.get(self.software.name)

    def request(self, prompt: str = "Why is the sky blue?", system: str = "", **sampling: object) -> GenerationRequest:
        said = (Message("system", system),) if system else ()
        chosen = SamplingParams(**{"max_tokens": 24, **sampling})  # type: ignore[arg-type]
        config = RunConfig(model=NAME, backend=Backend.REMOTE, sampling=chosen)
        return GenerationRequest(messages=(*said, Message("user", prompt)), config=config)

    def ask(self, prompt: str = "Why is the sky blue?", system: str = "", **sampling: object) -> Asked:
        return Asked(list(self.engine.generate(self.request(prompt, system, **sampling))))
