"""What the Quantization lab's measurements have in common. They are the work of background jobs.

Every piece is kept as soon as it is measured. So work that was cancelled, or whose server was stopped, goes on
where it was when it is started again, and what is there already is never measured again unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from app.runs.answers import RequestRefusedError, RunNotFinishedError, answer_undisturbed, answer_unkept
from app.runs.live_run import LiveRun
from app.runs.service import InferenceEngine
from engine import AnswerDivergence, Corpus, EngineStatus, Window, WindowDivergence
from engine.errors import GearboxError
from engine.types import GenerationRequest, Message, OptimizationConfig, Precision, RunConfig, SamplingParams

_SHOWN_REFUSALS = 3

Progress = Callable[[str, float], None]


class LabError(GearboxError):
    """A run that a measurement needed did not come to its end."""


class LabEngine(InferenceEngine, Protocol):
    """What the lab needs of an engine; see `engine.Engine`."""

    def status(self) -> EngineStatus: ...
    def weights_sha256(self, model: str) -> str: ...
    def windows(self, model: str, corpus: Corpus, progress: Progress = ...) -> tuple[Window, ...]: ...
    def compare_window(
        self, model: str, precision: Precision, window: Window, progress: Progress = ...
    ) -> WindowDivergence: ...
    def compare_answer(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress = ...
    ) -> AnswerDivergence: ...


def greedy_request(model: str, precision: Precision, prompt: str, *, max_tokens: int) -> GenerationRequest:
    """A prompt answered greedily at a precision.

    Raises:
        InvalidRequestError: the prompt is empty, or a value is out of range.
    """
    return GenerationRequest(
        messages=(Message("user", prompt),),
        config=RunConfig(
            model=model,
            optimization=OptimizationConfig.at(precision),
            sampling=SamplingParams(max_tokens=max_tokens),
        ),
    )


def answer(
    engine: InferenceEngine,
    request: GenerationRequest,
    watch: Callable[[LiveRun], object],
    *,
    timed: bool = False,
    failed: str = "",
) -> LiveRun:
    """Run a request to its end, as a step of a measurement, without keeping it among the runs.

    Args:
        engine: who answers.
        request: what is asked.
        watch: told of the run at every event but the last; what it raises ends the run.
        timed: whether its speed counts: then it has the engine alone, and is run once more if it was disturbed.
        failed: what to say before the reason if it fails: "It could not answer".

    Raises:
        RequestRefusedError: the model cannot take it.
        LabError: it failed, or was cut short.
    """
    try:
        ask = answer_undisturbed if timed else answer_unkept
        return ask(engine, request, watch)
    except RequestRefusedError:
        raise
    except RunNotFinishedError as error:
        raise LabError(f"{failed}: {error}" if failed else str(error)) from error


def refusal_words(refused: Sequence[str]) -> str:
    """That prompts were left out because a model cannot take them, for the user: how many, and the first of them."""
    several = f"{len(refused):,} prompts were" if len(refused) > 1 else "One prompt was"
    shown = "; ".join(refused[:_SHOWN_REFUSALS])
    return f"{several} left out because the model cannot take them: {shown}. All else is kept."
