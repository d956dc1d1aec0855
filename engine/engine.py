"""The composition root: a request goes in, events come out, and one thread does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from engine.device import choose_device, device_name
from engine.errors import ContextLengthError, EngineClosedError, GearboxError
from engine.evaluation import AnswerDivergence, Corpus, Window, WindowDivergence
from engine.memory import PeakRss
from engine.models.progress import Progress, silent
from engine.native import build_in_background
from engine.types import (
    Backend,
    DeviceChoice,
    GenerationRequest,
    Loading,
    Precision,
    RunFailed,
    RunFinished,
)
from engine.worker import CLOSED, Generation, GenerationJob, Worker

if TYPE_CHECKING:
    import torch

    from engine.evaluator import Evaluator
    from engine.pool import ModelPool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """One copy of weights in memory."""

    model: str
    backend: Backend
    precision: Precision
    weights_bytes: int


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What the engine is doing now."""

    running: bool
    queued: int
    resident: tuple[ResidentModel, ...]
    device: str
    """Where models run: "cpu", or the GPU's name. "cpu" too until the first request has found a GPU."""


class _CancelledWhileLoadingError(Exception):
    """Ends loading from inside its progress."""


class Engine:
    """Answers requests one at a time, in the order of their arrival.

    torch and transformers are imported in the engine's thread with the first request, so making an
    engine costs nothing.
    """

    def __init__(
        self,
        models_dir: Path,
        *,
        threads: int | None = None,
        model_memory_bytes: int | None = None,
        device: DeviceChoice = DeviceChoice.AUTO,
    ) -> None:
        """
        Args:
            models_dir: where catalogue models and packed weights are kept.
            threads: torch threads for model work; by default as many as torch finds fit.
            model_memory_bytes: what models may hold together before the longest unused is released; by
                default whatever the machine has free. One model alone may take more.
            device: where models run. A device that is not there fails the first request, not the engine.
        """
        self._models_dir = models_dir
        self._threads = threads
        self._pool: ModelPool | None = None
        self._model_memory_bytes = model_memory_bytes
        self._device_choice = device
        self._device_name = "cpu"
        build_in_background()
        self._worker = Worker()

    def generate(self, request: GenerationRequest) -> Generation:
        """Queue a request and follow it.

        The iterator always ends with ``RunFinished`` or ``RunFailed``; whatever a user can act on
        (an unknown model, a prompt too long, too little memory) arrives as the latter.

        Raises:
            EngineClosedError: the engine has been closed.
        """
        return self._worker.generate(request, self._serve)

    def weights_sha256(self, model: str) -> str:
        """Identity of a model's weights; no weights are loaded. Blocks until the engine gets to it.

        Raises:
            UnknownModelError, ModelNotInstalledError, UnsupportedModelError: as they say.
            EngineClosedError: the engine has been closed.
        """
        return self._call(lambda evaluator: evaluator.weights_sha256(model))

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
        if not corpus.prompts:
            return self._call(lambda evaluator: evaluator.cut_text(model, corpus))
        prompts_ids = self._call(lambda evaluator: [evaluator.encode_prompt(model, p) for p in corpus.prompts])
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

        Blocks until it is done. An interactive request that comes meanwhile runs right after it.

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

    def status(self) -> EngineStatus:
        """A snapshot, safe to ask for from any thread."""
        resident = self._pool.resident() if self._pool else {}
        return EngineStatus(
            running=self._worker.is_running,
            queued=self._worker.queued,
            resident=tuple(ResidentModel(*key, weights_bytes) for key, weights_bytes in resident.items()),
            device=self._device_name,
        )

    def close(self) -> None:
        """Cancel every run and end the thread."""
        self._worker.close()

    def _call(self, unit: Callable[[Evaluator], T]) -> T:
        """Do one unit of an evaluation in the engine's thread, and wait for it."""

        def body() -> T:
            from engine.evaluator import Evaluator

            return unit(Evaluator(self._started_pool()))

        return self._worker.call(body)

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
            if self._worker.is_closed:
                raise EngineClosedError(CLOSED)
            progress(stage, fraction)

        return guarded

    def _started_pool(self) -> ModelPool:
        """The models, in the engine's thread; torch is set up with the first call.

        Raises:
            DeviceUnavailableError: the device asked for is not there.
        """
        if self._pool is None:
            device = choose_device(self._device_choice)
            self._device_name = device_name(device)
            self._pool = _start_torch(self._models_dir, self._threads, self._model_memory_bytes, device)
        return self._pool

    def _serve(self, job: GenerationJob) -> None:
        """One run from start to end, in the engine's thread."""
        taken_up = perf_counter()
        import torch

        try:
            pool = self._started_pool()
            with torch.inference_mode(), PeakRss() as peak_rss:
                self._run(job, pool, taken_up, peak_rss)
        except _CancelledWhileLoadingError:
            job.refuse()
        except GearboxError as error:
            job.emit(RunFailed(str(error), type(error).__name__))

    def _run(self, job: GenerationJob, pool: ModelPool, taken_up: float, peak_rss: PeakRss) -> None:
        from engine.environment import kernel_environment, machine_environment
        from engine.generation.recorder import RunRecorder

        request, config = job.request, job.request.config

        def loading(stage: str, fraction: float) -> None:
            if job.is_cancelled():
                raise _CancelledWhileLoadingError
            job.notify(Loading(stage, fraction))

        opened = pool.open(config.model)
        load_s = perf_counter() - taken_up
        prompt_ids = opened.tokenizer.encode_chat(request.messages)
        context_length = opened.config.context_length
        if len(prompt_ids) >= context_length:
            raise ContextLengthError(len(prompt_ids), context_length)
        tokenized = perf_counter()
        model = pool.acquire(opened, config, loading)
        load_s += perf_counter() - tokenized
        max_tokens = min(config.sampling.max_tokens, context_length - len(prompt_ids))
        n_tokens = len(prompt_ids) + max_tokens
        pool.make_room(model.kv_bytes(n_tokens), f"A KV cache of {n_tokens:,} tokens", keep=(model,))
        peak_rss.restart()
        recorder = RunRecorder(
            emit=job.emit,
            is_cancelled=job.is_cancelled,
            decode=opened.tokenizer.decode,
            stop_ids=opened.tokenizer.stop_ids,
            stop=config.sampling.stop,
            prompt_tokens=len(prompt_ids),
            max_tokens=max_tokens,
            arrived=job.arrived,
            queue_s=taken_up - job.arrived,
            load_s=load_s,
        )
        kv_bytes = model.run(prompt_ids, config.sampling, max_tokens, recorder)
        recorder.finish(
            weights_bytes=model.weights_bytes,
            kv_bytes=kv_bytes,
            peak_rss_bytes=peak_rss.read(),
            environment={
                **machine_environment(),
                **kernel_environment(pool.device),
                **model.environment,
                "weights_sha256": opened.checkpoint.weights_sha256,
                "weights": opened.checkpoint.provenance,
            },
        )


def _start_torch(
    models_dir: Path, threads: int | None, model_memory_bytes: int | None, device: torch.device
) -> ModelPool:
    """Set torch up in the thread that will use it."""
    import torch

    from engine.pool import ModelPool

    if threads is not None:
        torch.set_num_threads(threads)
    return ModelPool(models_dir, model_memory_bytes, device)
