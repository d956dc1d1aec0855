"""What the benches of the gears share: one cold run, waited for."""

from __future__ import annotations

from engine import Engine
from engine.types import (
    Backend,
    GenerationRequest,
    Message,
    OptimizationConfig,
    RunConfig,
    RunFinished,
    RunMetrics,
    SamplingParams,
)


def ask(
    engine: Engine,
    model: str,
    messages: tuple[Message, ...],
    gears: OptimizationConfig,
    max_tokens: int,
    *,
    salt: str = "bench",
    cold: bool = True,
    backend: Backend = Backend.LOCAL,
    last_tier: str | None = None,
) -> tuple[RunFinished, RunMetrics]:
    """A greedy run and what it measured. Cold, it reuses nothing and drafts nothing from earlier runs.

    Raises:
        RuntimeError: it failed.
    """
    config = RunConfig(model=model, backend=backend, optimization=gears, sampling=SamplingParams(max_tokens=max_tokens))
    request = GenerationRequest(messages=messages, config=config, cache_salt=salt, cold=cold, last_tier=last_tier)
    last = list(engine.generate(request))[-1]
    if not isinstance(last, RunFinished) or last.metrics is None:
        raise RuntimeError(f"a run of the bench failed: {last}")
    return last, last.metrics
