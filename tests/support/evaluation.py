"""Requests and answers that the evaluation tests share."""

from __future__ import annotations

from typing import Any

import pytest

from engine import Corpus, CorpusPrompt, Engine, Window
from engine.evaluation.sandbox import Verdict, run_tests, why_not
from engine.types import (
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
)

needs_sandbox = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

TESTS = "assert f(2) == 4"
RIGHT = "def f(x):\n    return 2 * x\n"


def verdict(program: str | tuple[str, ...], tests: str = TESTS) -> Verdict:
    """What the sandbox makes of a program that defines ``f``."""
    return run_tests(program, tests, "f", time_limit=20)


def asked(prompt: str, model: str, precision: Precision = Precision.BF16, **sampling: Any) -> GenerationRequest:
    config = RunConfig(model=model, optimization=OptimizationConfig.at(precision), sampling=SamplingParams(**sampling))
    return GenerationRequest(messages=(Message("user", prompt),), config=config)


def answer(engine: Engine, request: GenerationRequest) -> RunFinished:
    *_, last = engine.generate(request)
    assert isinstance(last, RunFinished), last
    return last


def window_of(engine: Engine, model: str, prompt: str = "hello") -> Window:
    (window,) = engine.windows(model, Corpus(name="one", prompts=(CorpusPrompt(prompt),)))
    return window
