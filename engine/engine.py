"""The composition root: a request goes in, events come out, and one thread does the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from engine.errors import ContextLengthError, GearboxError
from engine.memory import PeakRss
from engine.native import build_in_background
from engine.types import (
    Backend,
    GenerationRequest,
    Loading,
    Precision,
    RunFailed,
    RunFinished,
)
from engine.worker import Generation, Job, Worker

if TYPE_CHECKING:
    from engine.pool import ModelPool


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


class _CancelledWhileLoadingError(Exception):
    """Ends loading from inside its progress."""


class Engine:
    """Answers requests one at a time, in the order of their arrival.

    torch and transformers are imported in the engine's thread with the first request, so making an
    engine costs nothing.
    """

    def __init__(self, models_dir: Path, *, threads: int | None = None) -> None:
        """
        Args:
            models_dir: where catalogue models and packed weights are kept.
            threads: torch threads for model work; by default as many as torch finds fit.
        """
        self._models_dir = models_dir
        self._threads = threads
        self._pool: ModelPool | None = None
        build_in_background()
        self._worker = Worker(self._serve, _refuse)

    def generate(self, request: GenerationRequest) -> Generation:
        """Queue a request and follow it.

        The iterator always ends with ``RunFinished`` or ``RunFailed``; whatever a user can act on
        (an unknown model, a prompt too long, too little memory) arrives as the latter.

        Raises:
            EngineClosedError: the engine has been closed.
        """
        return self._worker.submit(request)

    def status(self) -> EngineStatus:
        """A snapshot, safe to ask for from any thread."""
        resident = self._pool.resident() if self._pool else {}
        return EngineStatus(
            running=self._worker.is_running,
            queued=self._worker.queued,
            resident=tuple(ResidentModel(*key, weights_bytes) for key, weights_bytes in resident.items()),
        )

    def close(self) -> None:
        """Cancel every run and end the thread."""
        self._worker.close()

    def _serve(self, job: Job) -> None:
        """One run from start to end, in the engine's thread."""
        taken_up = perf_counter()
        import torch

        if self._pool is None:
            self._pool = _start_torch(self._models_dir, self._threads)
        try:
            with torch.inference_mode(), PeakRss() as peak_rss:
                self._run(job, self._pool, taken_up, peak_rss)
        except _CancelledWhileLoadingError:
            _refuse(job)
        except GearboxError as error:
            job.emit(RunFailed(str(error), type(error).__name__))

    def _run(self, job: Job, pool: ModelPool, taken_up: float, peak_rss: PeakRss) -> None:
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
        pool.make_room(model.kv_bytes(n_tokens), f"A KV cache of {n_tokens:,} tokens", keep=model)
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
                **kernel_environment(),
                **model.environment,
                "weights_sha256": opened.checkpoint.weights_sha256,
                "weights": opened.checkpoint.provenance,
            },
        )


def _start_torch(models_dir: Path, threads: int | None) -> ModelPool:
    """Set torch up in the thread that will use it."""
    import torch

    from engine.pool import ModelPool

    if threads is not None:
        torch.set_num_threads(threads)
    return ModelPool(models_dir)


def _refuse(job: Job) -> None:
    """End a run that was cancelled before it began."""
    job.emit(RunFinished("", (), "abort", None, {}))
