"""What the Quantization lab is given to measure, and what it reports."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.background.jobs import JobCancelled
from engine import Corpus, CorpusPrompt, Task, Window
from engine.errors import ContextLengthError, GearboxError
from engine.models.sources.progress import Progress, silent
from engine.types import GenerationRequest, Precision
from tests.support.fakes import FakeLabEngine

MODEL = "small"
TEXT = Corpus(name="Sea", text="The sea, the sea.")
PROMPTS = Corpus(name="Questions", prompts=tuple(CorpusPrompt(f"Question {n}?") for n in range(3)))
TASKS = tuple(
    Task(id=f"t{n}", category="c", prompt=f"Task {n}", checker="contains", expected=word, max_tokens=8)
    for n, word in enumerate(("sky", "moon"))
)
BOTH = (Precision.BF16, Precision.INT4)


class Reports:
    """Notes what is reported; cancels at the n-th report of a stage, if told to."""

    def __init__(self, cancel_at: str = "") -> None:
        self.stages: list[str] = []
        self.fractions: list[float] = []
        self.cancel_at = cancel_at

    def __call__(self, stage: str, fraction: float, *, loading: float | None = None) -> None:
        self.stages.append(stage)
        self.fractions.append(fraction)
        if self.cancel_at and self.cancel_at in stage:
            raise JobCancelled


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until it is so."""
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


class ChoosyEngine(FakeLabEngine):
    """Takes no prompt with an X, as a model takes none that is too long."""

    def windows(self, model: str, corpus: Corpus, progress: Progress = silent) -> tuple[Window, ...]:
        if any("X" in prompt.prompt for prompt in corpus.prompts):
            raise ContextLengthError(9000, 8192)
        return super().windows(model, corpus, progress)

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        return ContextLengthError(9000, 8192) if "X" in request.prompt else None
