"""How the tokens of an answer were chosen, in words."""

from __future__ import annotations

from app.units import counted
from engine.types import SamplingParams


def sampling_summary(sampling: SamplingParams) -> str:
    """On one line, settings that are off left out: "greedy · at most 128 tokens"."""
    parts = [f"temperature {sampling.temperature:g}" if sampling.temperature else "greedy"]
    parts.append(f"at most {counted(sampling.max_tokens, 'token')}")
    if sampling.temperature:
        parts.append(f"seed {sampling.seed}")
        parts += [f"top-p {sampling.top_p:g}"] if sampling.top_p < 1 else []
        parts += [f"top-k {sampling.top_k}"] if sampling.top_k else []
    if sampling.repetition_penalty != 1:
        parts.append(f"repetition penalty {sampling.repetition_penalty:g}")
    if sampling.frequency_penalty:
        parts.append(f"frequency penalty {sampling.frequency_penalty:g}")
    if sampling.presence_penalty:
        parts.append(f"presence penalty {sampling.presence_penalty:g}")
    if sampling.logit_bias:
        parts.append(f"{counted(len(sampling.logit_bias), 'token')} biased")
    if sampling.stop:
        parts.append(counted(len(sampling.stop), "stop string"))
    if sampling.json_schema is not None:
        parts.append("held to a JSON schema")
    if sampling.top_logprobs:
        parts.append(f"{counted(sampling.top_logprobs, 'likeliest token')} told with each")
    return " · ".join(parts)
