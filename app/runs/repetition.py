"""The alarm of an answer that repeats itself, and which gear to look at first."""

from __future__ import annotations

from app import units
from engine.types import CacheMode, RunConfig, RunMetrics

LIMIT = 0.5
"""Repeated share above which an answer goes in circles. Of some 4,000 sound answers (chat, code, worked
arithmetic) 99 % stay below 0.38."""
FEWEST_TOKENS = 32
"""Shorter answers, such as lists of numbers, say too little."""


def repetition_warning(metrics: RunMetrics | None, config: RunConfig) -> str | None:
    """What to say of an answer that repeats itself; ``None`` if it does not."""
    if metrics is None or metrics.repetition is None or metrics.completion_tokens < FEWEST_TOKENS:
        return None
    if metrics.repetition <= LIMIT:
        return None
    share = units.percent(metrics.repetition)
    return f"{share} of this answer's 4-token sequences repeat earlier ones. {_hint(config)}"


def _hint(config: RunConfig) -> str:
    looks = []
    if config.precision.info.lossy:
        looks.append(f"run the prompt in 16 bits to see whether {config.precision} is the cause")
    if config.optimization.cache_mode is CacheMode.PREFIX:
        looks.append("start it cold to see whether reused KV is")
    if config.sampling.repetition_penalty <= 1:
        looks.append("a repetition penalty of 1.1 makes repeats less likely")
    advice = "; ".join(looks) or "a larger model may do better"
    return f"{advice[0].upper()}{advice[1:]}."
