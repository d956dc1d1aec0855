"""One answer from start to end: model, prompt, KV, tokens, and what is kept afterwards. In the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from engine.backends.base import LoadedModel, OpenCheckpoint
from engine.backends.remote.network import Network
from engine.cache import CHUNK, CacheIdentity, Ids, KVCache, Lease, PrefixCache, SystemPrompt, Work, as_ids, explain
from engine.cascade import Guards
from engine.errors import InsufficientMemoryError
from engine.generation.recorder import RunRecorder
from engine.generation.recording import TokenSink
from engine.machine.disturbance import DisturbanceWatch
from engine.machine.environment import kernel_environment, machine_environment
from engine.machine.memory import PeakRss
from engine.passes import Steps, Wait, ask, at_once
from engine.serving.attempt import Attempt
from engine.serving.cascade import Cascade
from engine.serving.counterfactual import Paces
from engine.serving.drafting import Drafting
from engine.serving.memory.holding import Hold
from engine.serving.memory.pool import ModelPool
from engine.serving.memory.room import Room
from engine.serving.remote.attempt import RemoteAttempt
from engine.serving.scheduling.jobs import GenerationJob
from engine.serving.system_prompts import SystemPrompts
from engine.serving.tiers import AnyAttempt, Remotes, prepare_tiers, unless_cancelled
from engine.types import DRAWS_AS_PLAIN, CacheMode, GenerationRequest, Message

T = TypeVar("T")

_FROM_RUNNING = "A request that was running had computed the same beginning: it was shared."


class Responder:
    """Answers requests with the models of a pool and the KV of a prefix cache."""

    def __init__(
        self,
        pool: ModelPool,
        room: Room,
        cache: PrefixCache,
        verify_share: float,
        shared_prompts: Mapping[str, str],
        network: Network,
    ) -> None:
        """
        Args:
            pool: the models.
            room: where memory that is short is waited for.
            cache: KV kept across requests.
            verify_share: how many of the reused prefixes are computed anew and compared, 0 to 1.
            shared_prompts: system prompts whose KV all sessions may share, by name.
            network: where servers are asked.
        """
        self._network = network
        self._pool = pool
        self._room = room
        self._cache = cache
        self._verify_share = verify_share
        self._system_prompts = SystemPrompts(shared_prompts)
        self.drafting = Drafting(pool)
        self._guards, self._paces = Guards(), Paces()
        self._reuses = 0

    def answer(self, job: GenerationJob, remotes: Remotes, taken_up: float, peak_rss: PeakRss) -> Steps[None]:
        """Answer a request, telling the job of every event up to the last: yields what it wants computed.

        Args:
            job: whose request it is.
            remotes: the servers' models among its tiers.
            taken_up: when it began, by ``time.perf_counter``.
            peak_rss: of this process, meanwhile.

        Raises:
            CancelledWhileLoadingError: it was cancelled before the model was there.
            GearboxError: whatever keeps it from being answered, in the user's words.
        """
        with self._room.at_work(job), self._pool.residents.hold() as hold:
            yield from self._answer(job, remotes, hold, taken_up, peak_rss)

    def _answer(
        self, job: GenerationJob, remotes: Remotes, hold: Hold, taken_up: float, peak_rss: PeakRss
    ) -> Steps[None]:
        request = job.request
        tiers = yield from self._room.once_there_is_room(
            job,
            lambda others: prepare_tiers(
                job, self._pool, self.drafting, hold, self._network, remotes, room_may_come=others
            ),
            hold,
        )
        cascade = Cascade(request, tiers, self._guards, self._paces, job.company)
        watch = DisturbanceWatch(kernel_environment(self._pool.device)["threads"])
        load_s = perf_counter() - taken_up - tiers.tokenizing_s
        peak_rss.restart()
        recorder = RunRecorder(
            emit=job.emit,
            is_cancelled=job.is_cancelled,
            interrupt=job.interrupt,
            stop=request.config.sampling.stop,
            arrived=job.arrived,
            queue_s=taken_up - job.arrived,
            load_s=load_s,
            **cascade.recording(tiers.attempts[0]),
        )

        attempt, report = yield from cascade.run(recorder, partial(self._write, job, recorder))
        disturbance = watch.end()
        if isinstance(attempt, Attempt):
            self.drafting.remember(attempt.opened, request, (*attempt.prompt_ids, *recorder.token_ids))
        recorder.finish(
            weights_bytes=hold.weights_bytes,
            kv_bytes=attempt.kv_bytes,
            peak_rss_bytes=peak_rss.read(),
            environment=self._environment(attempt),
            cache=attempt.cache,
            draft_rounds=attempt.draft_rounds,
            speculation=attempt.speculation(),
            cascade=report,
            disturbance=disturbance,
            mean_batch_size=job.company.mean_batch_size,
            told=attempt.told() if isinstance(attempt, RemoteAttempt) else None,
        )

    def _once_there_is_room(self, job: GenerationJob, work: Callable[[], T]) -> Steps[T]:
        """What takes memory for KV; see :meth:`Room.once_there_is_room`."""
        return self._room.once_there_is_room(job, lambda _: at_once(work))

    def _environment(self, attempt: AnyAttempt) -> dict[str, Any]:
        """What an attempt's figures hold for."""
        if isinstance(attempt, RemoteAttempt):
            return attempt.environment()
        return {
            **machine_environment(),
            **kernel_environment(self._pool.device),
            **attempt.model.environment,
            "weights_sha256": attempt.opened.checkpoint.weights_sha256,
            "weights": attempt.opened.checkpoint.provenance,
            DRAWS_AS_PLAIN: True,
        }

    def _write(self, job: GenerationJob, recorder: RunRecorder, attempt: AnyAttempt, sink: TokenSink) -> Steps[None]:
        if isinstance(attempt, RemoteAttempt):
            yield from attempt.generate(sink, recorder)
        elif attempt.request.config.optimization.cache_mode is CacheMode.PREFIX:
            yield from self._write_on_kept(job, attempt, recorder, sink)
        else:
            yield from self._write_alone(job, attempt, sink)

    def _write_alone(self, job: GenerationJob, attempt: Attempt, sink: TokenSink) -> Steps[None]:
        """With KV of its own that is gone afterwards, or without any."""
        capacity, gears = len(attempt.prompt_ids) + attempt.max_tokens, attempt.request.config.optimization
        if gears.cache_mode is CacheMode.OFF:
            yield from self._once_there_is_room(job, lambda: self._make_room(attempt, capacity))
            yield from attempt.generate(sink, None)
        else:
            kv = yield from self._once_there_is_room(job, lambda: self._new_cache(attempt, capacity))
            yield from attempt.generate(sink, kv)

    def _write_on_kept(
        self, job: GenerationJob, attempt: Attempt, recorder: RunRecorder, sink: TokenSink
    ) -> Steps[None]:
        """With KV that begins with what is kept of the prompt, and is kept afterwards."""
        request = attempt.request
        identity = _identity(attempt.opened, attempt.model, request)
        ids, tokenizer = as_ids(attempt.prompt_ids), attempt.opened.tokenizer
        system = self._system_prompts.of(
            request.messages, ids, identity, tokenizer, unless_cancelled(recorder.cancelled)
        )
        if not request.cold:
            yield from self._await_beginning(job, identity, ids)
        report = explain(
            self._cache.index,
            identity,
            ids,
            request.messages,
            tokenizer.spell,
            cold=request.cold,
            system=system,
            retokenized=attempt.retokenized,
        )
        lease = yield from self._once_there_is_room(job, lambda: self._lend(identity, ids, system, attempt))
        with ExitStack() as if_it_fails:
            if_it_fails.callback(self._cache.discard, lease)
            trace = yield from attempt.generate(sink, lease.kv, verify=self._is_due(lease))
            if_it_fails.pop_all()
        if trace.verified is not None:
            self._cache.was_verified(lease, agrees=trace.verified)
        prefix = tokenizer.decode(request.prefix_ids) if request.prefix_ids else ""
        answer = Message("assistant", prefix + recorder.text, (*request.prefix_ids, *recorder.token_ids))
        self._cache.settle(
            lease,
            as_ids([*attempt.prompt_ids, *recorder.token_ids]),
            (*_said(request), answer),
            Work(len(attempt.prompt_ids) - lease.cached_tokens, recorder.prefill_s),
            lambda capacity: self._spare_cache(attempt, capacity),
        )
        if lease.source is None and lease.cached_tokens:
            report = replace(report, cause=None, lost_tokens=0, detail=_FROM_RUNNING)
        attempt.cache = replace(report, verified=trace.verified)

    def _await_beginning(self, job: GenerationJob, identity: CacheIdentity, ids: Ids) -> Steps[None]:
        """What a running request computes of the same prompt is waited for, and not computed twice."""
        while not job.is_cancelled() and (has_come := self._cache.being_computed(identity, ids)):
            yield from ask(Wait(has_come))

    def _lend(self, identity: CacheIdentity, ids: Ids, system: SystemPrompt | None, attempt: Attempt) -> Lease:
        capacity = len(ids) + attempt.max_tokens
        needed, purpose = self._kv_wanted(attempt, capacity)
        # a kept sequence's own KV may be lent
        self._pool.residents.require_possible(needed, purpose, attempt.model.weights_bytes)

        def new_cache(capacity: int) -> KVCache:
            cache = self._new_cache(attempt, capacity)
            if cache is None:
                raise TypeError("this backend keeps its own KV")
            return cache

        return self._cache.lend(
            identity,
            ids,
            capacity,
            new_cache,
            most_tokens=attempt.opened.config.context_length,
            cold=attempt.request.cold,
            system=system,
        )

    def _new_cache(self, attempt: Attempt, capacity: int) -> KVCache | None:
        gears = attempt.request.config.optimization
        self._make_room(attempt, capacity)
        return attempt.model.new_cache(capacity, gears.kv_dtype, gears.window)

    def _spare_cache(self, attempt: Attempt, capacity: int) -> KVCache | None:
        """A cache that nothing has to go for; ``None`` if memory is short."""
        dtype = attempt.request.config.optimization.kv_dtype
        try:
            self._pool.residents.require_free(attempt.model.kv_bytes(capacity, dtype), "A system prompt's KV")
        except InsufficientMemoryError:
            return None
        return attempt.model.new_cache(capacity, dtype, None)

    def _make_room(self, attempt: Attempt, tokens: int) -> None:
        """For KV of so many tokens: where memory is taken as it is used, for the prompt, if there could be for all."""
        needed, purpose = self._kv_wanted(attempt, tokens)
        self._pool.residents.require_possible(needed, purpose, attempt.model.weights_bytes)
        if attempt.model.kv_by_use:
            dtype = attempt.request.config.optimization.kv_dtype
            needed = min(needed, attempt.model.kv_bytes(len(attempt.prompt_ids) + CHUNK, dtype))
        self._pool.residents.make_room(needed, purpose, attempt.model.weights_bytes)

    def _kv_wanted(self, attempt: Attempt, tokens: int) -> tuple[int, str]:
        """Bytes that KV of so many tokens takes, and what for."""
        gears = attempt.request.config.optimization
        tokens = gears.window or tokens
        return attempt.model.kv_bytes(tokens, gears.kv_dtype), f"A KV cache of {tokens:,} tokens"

    def _is_due(self, lease: Lease) -> bool:
        """Whether it is this reuse's turn to be looked at."""
        if not lease.cached_tokens or lease.kv.slides:  # a window is lossy: computed anew it is another one
            return False
        before, self._reuses = self._reuses, self._reuses + 1
        return int(self._reuses * self._verify_share) > int(before * self._verify_share)


def _said(request: GenerationRequest) -> tuple[Message, ...]:
    """What a kept sequence begins with, for people to read."""
    return request.messages if request.completion is None else (Message("user", request.completion),)


def _identity(opened: OpenCheckpoint, model: LoadedModel, request: GenerationRequest) -> CacheIdentity:
    return CacheIdentity(
        weights_sha256=opened.checkpoint.weights_sha256,
        precision=str(request.config.precision),
        kernel=str(model.environment["kernel"]),
        kv_dtype=str(request.config.optimization.kv_dtype),
        window=request.config.optimization.window,
        salt=request.cache_salt,
        codes=str(model.environment.get("codes", "")),
    )
