"""What the labs measure of models on this machine, each a unit of work in the engine's thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from engine.errors import EngineClosedError, GearboxError
from engine.evaluation import AnswerDivergence, Corpus, CorpusPrompt, Window, WindowDivergence
from engine.models import list_models
from engine.models.sources.progress import Progress, silent
from engine.serving.scheduling.jobs import CLOSED, Generation
from engine.types import (
    DrafterChoice,
    GenerationRequest,
    Losslessness,
    OptimizationConfig,
    Precision,
    RunFailed,
    RunFinished,
)

if TYPE_CHECKING:  # they bring torch, which the first page must not wait for
    from engine.passes import Steps
    from engine.serving.evaluator import Evaluator

T = TypeVar("T")


class Labs(ABC):
    """The part of an engine that compares, checks and looks into. A server's model, which nobody sees into, is refused
    by all of it (:class:`~engine.errors.UnsupportedModelError`)."""

    _models_dir: Path

    @abstractmethod
    def generate(self, request: GenerationRequest) -> Generation:
        """Queue a request and follow it."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether it takes no more requests."""

    @abstractmethod
    def _call(self, unit: Callable[[Evaluator], Steps[T]]) -> T:
        """Do one unit of an evaluation in the engine's thread, and wait for it."""

    def windows(self, model: str, corpus: Corpus, progress: Progress = silent) -> tuple[Window, ...]:
        """A corpus as this model's tokens, cut into what :meth:`compare_window` takes.

        Running text becomes windows of 512 tokens. Prompts are answered greedily by the 16-bit model,
        one run in the queue for each, and each prompt with its answer is a window whose answer is
        scored; that takes a while, so the result is worth keeping.

        Args:
            model: catalogue name, local folder or hub id.
            corpus: what to measure on.
            progress: told after each prompt, in the caller's thread; what it raises ends the work.

        Raises:
            CorpusError: the corpus is shorter than a window.
            GearboxError: whatever keeps the model from answering.
        """
        guarded = self._unless_closed(silent)
        if not corpus.prompts:
            return self._call(lambda evaluator: evaluator.cut_text(model, corpus, guarded))

        def encode(prompt: CorpusPrompt) -> tuple[int, ...]:
            return self._call(lambda evaluator: evaluator.encode_prompt(model, prompt, guarded))

        prompts_ids = [encode(prompt) for prompt in corpus.prompts]  # others may come between two of them
        windows: list[Window] = []
        for prompt, prompt_ids in zip(corpus.prompts, prompts_ids, strict=True):
            progress(f"Answering prompt {len(windows) + 1} of {len(prompts_ids)}", len(windows) / len(prompts_ids))
            windows.append(Window(prompt_ids + self._answer(prompt.request(model)), len(prompt_ids)))
        progress("All prompts answered", 1.0)
        return tuple(windows)

    def compare_window(
        self, model: str, precision: Precision, window: Window, progress: Progress = silent
    ) -> WindowDivergence:
        """Read one window with the 16-bit model and with a candidate; one unit in the engine's queue.

        Blocks until it is done. Requests that come meanwhile run beside it.

        Args:
            model: catalogue name, local folder or hub id.
            precision: the candidate's; 16 bits are compared with themselves.
            window: from :meth:`windows`.
            progress: told how far a model's loading is, in the engine's thread; what it raises ends the
                loading and comes out here.

        Raises:
            InsufficientMemoryError: the two models do not fit beside each other.
            NonFiniteLogitsError: one of them gives NaN or infinity.
            EngineClosedError: the engine has been closed.
        """
        return self._call(
            lambda evaluator: evaluator.compare_window(model, precision, window, self._unless_closed(progress))
        )

    def compare_answer(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress = silent
    ) -> AnswerDivergence:
        """Read a request's answer with the 16-bit model and with the request's own precision, token by
        token; one unit in the engine's queue, as :meth:`compare_window`.

        Args:
            request: what was asked; its precision is the candidate's.
            token_ids: the answer (``RunFinished.token_ids``), at least one token.
            progress: as for :meth:`compare_window`.

        Raises:
            InvalidRequestError: there is no answer, or it does not fit the context.
            InsufficientMemoryError, NonFiniteLogitsError, EngineClosedError: as :meth:`compare_window`.
        """
        return self._call(lambda evaluator: evaluator.compare_answer(request, token_ids, self._unless_closed(progress)))

    def compare_candidates(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        candidates: Sequence[OptimizationConfig],
        progress: Progress = silent,
    ) -> tuple[WindowDivergence, ...]:
        """Read a request's answer with the 16-bit model, once, and with each of several candidates: the same model in
        another precision, or with KV kept otherwise. One unit in the engine's queue, as :meth:`compare_window`.

        Args:
            request: what was asked; its model is everybody's.
            token_ids: the answer (``RunFinished.token_ids``), at least one token.
            candidates: their precision and KV dtype count. The 16-bit model is compared with itself.
            progress: as for :meth:`compare_window`.

        Raises:
            InvalidRequestError: there is no answer, it does not fit the context, or a candidate's window slides.
            InsufficientMemoryError: not all of them fit beside each other.
            NonFiniteLogitsError, EngineClosedError: as :meth:`compare_window`.
        """
        guarded = self._unless_closed(progress)
        return self._call(lambda evaluator: evaluator.compare_candidates(request, token_ids, candidates, guarded))

    def check_losslessness(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        progress: Progress = silent,
    ) -> Losslessness:
        """Whether a run's answer is plain decoding's own, by reading it again; one unit in the engine's queue.

        Each token is compared with the one that plain decoding chooses there, a sampled one by the same random numbers.

        Args:
            request: what was asked.
            token_ids: the answer (``RunFinished.token_ids``), at least one token.
            progress: as for :meth:`compare_window`.

        Raises:
            InvalidRequestError: there is no answer, or its tokens are none of this model's.
            InsufficientMemoryError, EngineClosedError: as :meth:`compare_window`.
        """
        guarded = self._unless_closed(progress)
        return self._call(lambda evaluator: evaluator.check_losslessness(request, token_ids, guarded))

    def drafters(self, model: str, precision: Precision) -> tuple[DrafterChoice, ...]:
        """Every drafter there could be for a model, and why it cannot draft or what is known of its speed.

        Blocks until the engine gets to it; no weights are loaded.

        Raises:
            UnknownModelError, ModelNotInstalledError, UnsupportedModelError: as they say.
            EngineClosedError: the engine has been closed.
        """
        models = [info.name for info in list_models(self._models_dir) if info.installed]
        guarded = self._unless_closed(silent)

        def choices(evaluator: Evaluator) -> Steps[tuple[DrafterChoice, ...]]:
            from engine.serving.matchmaking import drafter_choices

            return (yield from drafter_choices(evaluator.pool, model, precision, models, guarded))

        return self._call(choices)

    def _answer(self, request: GenerationRequest) -> tuple[int, ...]:
        """The whole answer to a request, waited for; gives it up if the waiting is interrupted."""
        with closing(self.generate(request)) as events:
            *_, last = events
        if isinstance(last, RunFinished) and last.finish_reason != "abort":
            return last.token_ids
        raise GearboxError(last.error) if isinstance(last, RunFailed) else EngineClosedError(CLOSED)

    def _unless_closed(self, progress: Progress) -> Progress:
        """Loading that ends when the engine is closed."""

        def guarded(stage: str, fraction: float) -> None:
            if self.is_closed:
                raise EngineClosedError(CLOSED)
            progress(stage, fraction)

        return guarded
