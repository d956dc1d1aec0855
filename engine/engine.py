"""The composition root: a request goes in, events come out, and one thread does the work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from engine.errors import EngineClosedError, GearboxError
from engine.evaluation import AnswerDivergence, Corpus, CorpusPrompt, Window, WindowDivergence
from engine.generation.grammar import GRAMMARS
from engine.importing import uncollected
from engine.machine.device import choose_device, device_name
from engine.machine.disturbance import name_engine_thread
from engine.machine.memory import RssSampler, memory_errors_in_words, require_room_for_libraries
from engine.models import list_models
from engine.models.sources.progress import Progress, silent
from engine.models.tokenization.chat_template import TEMPLATES
from engine.native import build_in_background
from engine.serving.scheduling.jobs import CLOSED, Generation, GenerationJob, Job
from engine.serving.scheduling.worker import MOST_RUNNING, Worker
from engine.serving.status import CacheStatus, EngineStatus, EvictedSequence, KeptSequence, ResidentModel
from engine.types import (
    DEFAULT_KV_CACHE_BYTES,
    DeviceChoice,
    DrafterChoice,
    GenerationRequest,
    Losslessness,
    OptimizationConfig,
    Precision,
    RunFailed,
    RunFinished,
)

if TYPE_CHECKING:
    from engine.cache import PrefixCache
    from engine.passes import Steps
    from engine.serving.evaluator import Evaluator
    from engine.serving.memory.pool import ModelPool
    from engine.serving.memory.room import Room
    from engine.serving.responder import Responder

T = TypeVar("T")


class Engine:
    """Answers requests, several at once: they share passes of the model, and each answer is what it is alone.

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
        kv_cache_bytes: int = DEFAULT_KV_CACHE_BYTES,
        verify_cache: float = 0.0,
        shared_prompts: Mapping[str, str] = MappingProxyType({}),
        most_running: int = MOST_RUNNING,
        running_kv_bytes: int | None = None,
    ) -> None:
        """
        Args:
            models_dir: where catalogue models and packed weights are kept.
            threads: torch threads for model work; by default as many as torch finds fit.
            model_memory_bytes: what models may hold together before the longest unused is released; by
                default whatever the machine has free. One model alone may take more.
            device: where models run. A device that is not there fails the first request, not the engine.
            kv_cache_bytes: what KV kept across requests may take.
            verify_cache: share of the reused prefixes that are computed anew and compared, 0 to 1; where they
                differ, the answer is made from what was computed anew.
            shared_prompts: system prompts, by name, whose KV one session may take over from another. Nothing that
                follows them is ever shared.
            most_running: requests that may share passes; more wait.
            running_kv_bytes: what the KV of running requests may take together, before the youngest gives its back and
                reads it again later; by default half of the memory that is free at the first request.
        """
        self._models_dir = models_dir
        self._threads = threads
        self._pool: ModelPool | None = None
        self._cache: PrefixCache | None = None
        self._room: Room
        """Made with the pool."""
        self._responder: Responder | None = None
        self._kv_cache_bytes = kv_cache_bytes
        self._verify_cache = verify_cache
        self._shared_prompts = shared_prompts
        self._model_memory_bytes = model_memory_bytes
        self._device_choice = device
        self._device_name = "cpu"
        self._rss = RssSampler()
        with memory_errors_in_words("the engine was started"):
            build_in_background()
            self._worker = Worker(most_running, running_kv_bytes, self._make_spare_room)

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
        return self._call(lambda evaluator: evaluator.weights_sha256(model, self._unless_closed(silent)))

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

        def body(_: Job) -> Steps[tuple[DrafterChoice, ...]]:
            _import_libraries()
            from engine.serving.matchmaking import drafter_choices

            pool = self._started_pool()
            return (yield from drafter_choices(pool, model, precision, models, self._unless_closed(silent)))

        return self._worker.call(body)

    def unload(self, model: str) -> None:
        """Let a model of the models folder leave memory, all copies of it; blocks until the engine gets to it.

        Raises:
            ModelInUseError: a request answers or drafts with it, or something is being loaded.
            EngineClosedError: the engine has been closed.
        """

        pool = self._pool
        if pool is None:
            return

        def body(_: Job) -> Steps[None]:
            pool.unload(model)
            yield from ()

        self._worker.call(body)

    def status(self) -> EngineStatus:
        """A snapshot, safe to ask for from any thread."""
        resident = self._pool.resident() if self._pool else {}
        return EngineStatus(
            running=self._worker.running,
            queued=self._worker.queued,
            resident=tuple(ResidentModel(*key, weights_bytes) for key, weights_bytes in resident.items()),
            device=self._device_name,
            kv_share=self._worker.kv_share,
            kv_bytes=self._worker.kv_bytes,
            preemptions=self._worker.preemptions,
        )

    def cache_status(self) -> CacheStatus:
        """What the prefix cache holds, safe to ask for from any thread."""
        kept = self._cache.index.kept() if self._cache else ()
        evicted = self._cache.index.evicted() if self._cache else ()
        return CacheStatus(
            budget_bytes=self._kv_cache_bytes,
            verified=self._cache.verified if self._cache else 0,
            mismatches=self._cache.mismatches if self._cache else 0,
            kept=tuple(
                KeptSequence(
                    weights_sha256=sequence.identity.weights_sha256,
                    precision=sequence.identity.precision,
                    salt=sequence.identity.salt,
                    is_system=sequence.identity.is_system,
                    tokens=len(sequence.ids),
                    nbytes=sequence.nbytes,
                    created=sequence.created,
                    used=sequence.used,
                    hits=sequence.hits,
                    reused_tokens=sequence.reused_tokens,
                    saved_s=sequence.saved_s,
                    messages=sequence.messages,
                )
                for sequence in kept
            ),
            evicted=tuple(
                EvictedSequence(
                    salt=left.identity.salt,
                    tokens=len(left.ids),
                    reason=left.reason,
                    when=left.when,
                    messages=left.messages,
                )
                for left in evicted
            ),
        )

    def set_cache_budget(self, kv_cache_bytes: int) -> None:
        """Set what KV kept across requests may take; the longest unused sequences leave if they must."""
        self._kv_cache_bytes = kv_cache_bytes
        if self._cache:
            self._cache.index.resize(kv_cache_bytes)

    def forget_session(self, salt: str) -> None:
        """Let go of all KV and all texts that belong to a session that has ended."""
        if self._cache:
            self._cache.forget(salt)
        if self._responder:
            self._responder.drafting.forget(salt)

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._worker.is_closed

    def close(self) -> None:
        """Cancel every run, end the thread, and the processes in which strangers' templates and schemas are read."""
        self._worker.close()
        if self._pool:
            self._pool.close()
        for confined in (TEMPLATES, GRAMMARS):
            confined.close()

    def _call(self, unit: Callable[[Evaluator], Steps[T]]) -> T:
        """Do one unit of an evaluation in the engine's thread, and wait for it."""

        def body(job: Job) -> Steps[T]:
            with memory_errors_in_words("a model was read or asked"):
                _import_libraries()
                from engine.serving.evaluator import Evaluator

                return (yield from unit(Evaluator(self._started_pool(), self._room, job)))

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
            from engine.cache import PrefixCache
            from engine.serving.memory.pool import ModelPool
            from engine.serving.memory.room import Room

            device = choose_device(self._device_choice)
            self._device_name = device_name(device)
            name_engine_thread()
            _set_up_torch(self._threads)
            self._cache = PrefixCache(self._kv_cache_bytes)
            self._room = Room()
            self._pool = ModelPool(
                self._models_dir,
                self._model_memory_bytes,
                device,
                spare=self._cache,
                running_kv=lambda: self._worker.kv_bytes,
            )
        return self._pool

    def _make_spare_room(self, needed: int) -> bool:
        """See :meth:`ModelPool.make_spare_room`; in the engine's thread."""
        return self._pool is None or self._pool.make_spare_room(needed)

    def _started_responder(self) -> Responder:
        """What answers requests, in the engine's thread. Raises as :meth:`_started_pool` does."""
        pool = self._started_pool()
        if self._responder is None:
            from engine.serving.responder import Responder

            assert self._cache is not None  # made with the pool
            self._responder = Responder(pool, self._room, self._cache, self._verify_cache, self._shared_prompts)
        return self._responder

    def _serve(self, job: GenerationJob) -> Steps[None]:
        """One run from start to end, in the engine's thread."""
        taken_up = perf_counter()
        try:
            with memory_errors_in_words("the request was answered"):
                _import_libraries()
                yield from self._answer_job(job, taken_up)
        except GearboxError as error:
            job.emit([RunFailed(str(error), type(error).__name__)])

    def _answer_job(self, job: GenerationJob, taken_up: float) -> Steps[None]:
        from engine.serving.tiers import CancelledWhileLoadingError

        try:
            responder = self._started_responder()
            with self._rss.watch() as peak_rss:
                yield from responder.answer(job, taken_up, peak_rss)
        except CancelledWhileLoadingError:
            job.refuse()


def _import_libraries() -> None:
    """torch and all that needs it, with the first job; the process for templates starts meanwhile.

    Raises:
        InsufficientMemoryError: there is no room for them.
    """
    if "torch" in sys.modules:
        return
    require_room_for_libraries()
    TEMPLATES.start()
    with uncollected():
        import_module("engine.serving.responder")


def _set_up_torch(threads: int | None) -> None:
    """In the thread that will use it: as many threads as asked for, and no gradients for as long as it lives."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    torch.inference_mode().__enter__()
