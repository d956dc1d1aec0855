"""The composition root: a request goes in, events come out, and one thread does the work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from engine.backends.remote.network import Network
from engine.errors import GearboxError
from engine.generation.grammar import GRAMMARS
from engine.importing import uncollected
from engine.labs import Labs
from engine.machine.device import choose_device, device_name
from engine.machine.disturbance import name_engine_thread
from engine.machine.memory import RssSampler, memory_errors_in_words, require_room_for_libraries
from engine.models.sources.progress import silent
from engine.models.tokenization.chat_template import TEMPLATES
from engine.native import build_in_background
from engine.serving.remote.answers import FindRemote, find_none, found_by, identity_of
from engine.serving.remote.runs import RemoteRuns
from engine.serving.scheduling.jobs import Generation, GenerationJob, Job
from engine.serving.scheduling.worker import MOST_RUNNING, Worker
from engine.serving.status import CacheStatus, EngineStatus, EvictedSequence, KeptSequence, ResidentModel
from engine.types import (
    DEFAULT_KV_CACHE_BYTES,
    Backend,
    DeviceChoice,
    GenerationRequest,
    RemoteModel,
    RemoteStatus,
    RunConfig,
    RunFailed,
    is_remote,
)

if TYPE_CHECKING:
    from engine.cache import PrefixCache
    from engine.passes import Steps
    from engine.serving.evaluator import Evaluator
    from engine.serving.memory.pool import ModelPool
    from engine.serving.memory.room import Room
    from engine.serving.responder import Responder

T = TypeVar("T")


class Engine(Labs):
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
        remote_models: FindRemote = find_none,
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
            remote_models: looks up a server's model by its name, which begins with "@", at each request and in the
                thread that asks; ``None`` for a name that is not known. What it raises of
                :class:`~engine.errors.GearboxError` fails the run in its words.
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
        self._network = Network()
        self._find_remote = remote_models
        self._remote_runs = RemoteRuns(self._network, remote_models, self._rss)
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
        config = request.config
        if config.backend is Backend.REMOTE and config.optimization.cascade is None:
            return self._remote_runs.generate(request)
        return self._worker.generate(request, partial(self._serve, remotes=self._remote_tiers(config)))

    def weights_sha256(self, model: str) -> str:
        """Identity of a model's weights; no weights are loaded. Blocks until the engine gets to it. Of a server's
        model, whose weights nobody sees here, it is its address and its name there.

        Raises:
            UnknownModelError, ModelNotInstalledError, UnsupportedModelError: as they say.
            EngineClosedError: the engine has been closed.
        """
        if is_remote(model):
            return identity_of(found_by(self._find_remote, model))
        return self._call(lambda evaluator: evaluator.weights_sha256(model, self._unless_closed(silent)))

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

    def remote_status(self) -> tuple[RemoteStatus, ...]:
        """How each server that was asked since the engine started has been doing, safe to ask for from any thread."""
        return self._network.status()

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
        self._network.close()
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
            self._responder = Responder(
                pool, self._room, self._cache, self._verify_cache, self._shared_prompts, self._network
            )
        return self._responder

    def _remote_tiers(self, config: RunConfig) -> Mapping[str, RemoteModel | GearboxError]:
        """The servers' models among the tiers of a configuration by their names, or why one cannot be asked."""
        found: dict[str, RemoteModel | GearboxError] = {}
        for tier in config.ladder:
            if tier.is_remote:
                try:
                    found[tier.model] = found_by(self._find_remote, tier.model)
                except GearboxError as error:
                    found[tier.model] = error
        return found

    def _serve(self, job: GenerationJob, remotes: Mapping[str, RemoteModel | GearboxError]) -> Steps[None]:
        """One run from start to end, in the engine's thread."""
        taken_up = perf_counter()
        try:
            with memory_errors_in_words("the request was answered"):
                _import_libraries()
                yield from self._answer_job(job, remotes, taken_up)
        except GearboxError as error:
            job.emit([RunFailed(str(error), type(error).__name__)])

    def _answer_job(
        self, job: GenerationJob, remotes: Mapping[str, RemoteModel | GearboxError], taken_up: float
    ) -> Steps[None]:
        from engine.serving.tiers import CancelledWhileLoadingError

        try:
            responder = self._started_responder()
            with self._rss.watch() as peak_rss:
                yield from responder.answer(job, remotes, taken_up, peak_rss)
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
