"""The one request that is asked on every path to the engine, and what is kept of its answer."""

from __future__ import annotations

from typing import NamedTuple

from app.store import RunSummary
from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
)

MODEL = "smollm2-135m"
"""In 4 bits the fastest there is, and so the first to suffer from whatever else happens."""
PROMPT = "Explain how a lighthouse works, why it was built where it stands, and who looks after it."
MAX_TOKENS = 128
"""As the Playground's form begins."""


class Times(NamedTuple):
    """What is kept of a run."""

    ttft_s: float
    tpot_s: float
    waited: float
    """Share of the time in which the engine's threads waited for a core."""
    disturbed: bool


def request() -> GenerationRequest:
    """Greedy, cold, in 4 bits."""
    optimization = OptimizationConfig.at(Precision.INT4)
    config = RunConfig(model=MODEL, optimization=optimization, sampling=SamplingParams(max_tokens=MAX_TOKENS))
    return GenerationRequest(messages=(Message("user", PROMPT),), config=config, cold=True)


def times_of(run: RunFinished | RunSummary) -> Times:
    """Of a run that wrote at least two tokens."""
    metrics, disturbance = run.metrics, run.disturbance
    if metrics is None or metrics.ttft_s is None or metrics.tpot_s is None or disturbance is None:
        raise RuntimeError("a run was not measured")
    return Times(metrics.ttft_s, metrics.tpot_s, disturbance.wait_share or 0.0, disturbance.is_disturbed)
