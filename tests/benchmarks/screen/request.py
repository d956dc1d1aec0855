"""The one request that is asked on every path to the engine, and what is kept of its answer."""

from __future__ import annotations

from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunMetrics,
    SamplingParams,
)

MODEL = "smollm2-135m"
"""In 4 bits the fastest there is, and so the first to suffer from whatever else happens."""
PROMPT = "Explain how a lighthouse works, why it was built where it stands, and who looks after it."
MAX_TOKENS = 128
"""As the Playground's form begins."""

Times = tuple[float, float]
"""TTFT and TPOT, in seconds."""


def request() -> GenerationRequest:
    """Greedy, cold, in 4 bits."""
    optimization = OptimizationConfig.at(Precision.INT4)
    config = RunConfig(model=MODEL, optimization=optimization, sampling=SamplingParams(max_tokens=MAX_TOKENS))
    return GenerationRequest(messages=(Message("user", PROMPT),), config=config, cold=True)


def times_of(metrics: RunMetrics | None) -> Times:
    """Of a run that wrote at least two tokens."""
    if metrics is None or metrics.ttft_s is None or metrics.tpot_s is None:
        raise RuntimeError("a run was not measured")
    return metrics.ttft_s, metrics.tpot_s
