"""What the Speculation lab's measurements have in common: the prompts, and how each is asked with a drafter or without.

The measurements are the work of background jobs: plain and drafted runs in turn, of the same prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Protocol

from app.runs.answers import undisturbed
from app.runs.live_run import LiveRun
from app.runs.prompts import SamplePrompt, load_prompts
from app.runs.service import InferenceEngine
from app.settings import REPOSITORY
from app.speculation.losslessness import CheckingEngine
from engine import EngineStatus
from engine.errors import GearboxError
from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    SamplingParams,
    SpeculationConfig,
)

PROMPTS = REPOSITORY / "data" / "prompts" / "speculation.jsonl"
GAMMAS = (1, 2, 3, 4, 6, 8, 12, 16)
MAX_TOKENS = 96
"""Of a measured answer."""
PAIRS = 3
"""Plain and drafted runs of each prompt; the medians count."""


class SpeculationLabError(GearboxError):
    """A measurement did not come to its end."""


class SpeculationEngine(InferenceEngine, CheckingEngine, Protocol):
    """What the lab needs of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...
    def weights_sha256(self, model: str) -> str: ...


def lab_prompts(path: Path = PROMPTS) -> tuple[SamplePrompt, ...]:
    """The lab's own prompts, some of whose answers copy much of the prompt."""
    return load_prompts(path)


def prompt_sha256(prompt: SamplePrompt) -> str:
    """Identity of a prompt's text."""
    return hashlib.sha256(f"{prompt.system}\0{prompt.prompt}".encode()).hexdigest()


def lab_request(
    prompt: SamplePrompt,
    model: str,
    precision: Precision,
    speculation: SpeculationConfig | None,
    *,
    max_tokens: int = MAX_TOKENS,
) -> GenerationRequest:
    """A prompt answered greedily from a cold start, with a drafter or without.

    Raises:
        InvalidRequestError: the prompt is empty, or the drafter does not fit the precision.
    """
    system = (Message("system", prompt.system),) if prompt.system else ()
    return GenerationRequest(
        messages=(*system, Message("user", prompt.prompt)),
        config=RunConfig(
            model=model,
            optimization=OptimizationConfig.at(precision, speculation=speculation),
            sampling=SamplingParams(max_tokens=max_tokens),
        ),
        cold=True,
        exclusive=True,
    )


def median_tpot_s(runs: Sequence[LiveRun]) -> float:
    """Of runs of the same prompt, at least one of which wrote more than one token; disturbed ones are left out where
    there are others."""
    told = [run for run in runs if run.metrics and run.metrics.tpot_s is not None]
    return median(run.metrics.tpot_s for run in undisturbed(told) if run.metrics and run.metrics.tpot_s is not None)


def tpot_ratios(plain: Sequence[LiveRun], drafted: Sequence[LiveRun]) -> tuple[float, ...]:
    """Plain TPOT / drafted TPOT of each pair of runs that have one; disturbed pairs are left out where there are
    others."""
    pairs = [
        (mine, theirs, mine.metrics.tpot_s / theirs.metrics.tpot_s)
        for mine, theirs in zip(plain, drafted, strict=True)
        if mine.metrics and theirs.metrics and mine.metrics.tpot_s and theirs.metrics.tpot_s
    ]
    quiet = [pair for pair in pairs if not pair[0].disturbed and not pair[1].disturbed]
    return tuple(ratio for _, _, ratio in quiet or pairs)
