"""One answer from start to end: model, prompt, KV, tokens, and what is kept afterwards. In the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter

from engine.backends.base import LoadedModel, OpenCheckpoint
from engine.cache import CacheIdentity, Ids, KVCache, Lease, PrefixCache, SystemPrompt, Work, as_ids, explain
from engine.errors import (
    ContextLengthError,
    InsufficientMemoryError,
    InvalidRequestError,
    ModelNotInstalledError,
    UnknownModelError,
)
from engine.generation.recorder import RunRecorder, TokenSink
from engine.machine.environment import kernel_environment, machine_environment
from engine.machine.memory import PeakRss, require_memory
from engine.serving.attempt import Attempt
from engine.serving.drafting import Drafting
from engine.serving.ladder import Ladder
from engine.serving.pool import ModelPool
from engine.serving.system_prompts import SystemPrompts
from engine.serving.worker import GenerationJob
from engine.types import CacheMode, CascadeReport, GenerationRequest, Loading, Message


class CancelledWhileLoadingError(Exception):
    """Ends loading, or waiting for a chat template, from inside."""


class Responder:
    """Answers requests with the models of a pool and the KV of a prefix cache."""

    def __init__(
        self, pool: ModelPool, cache: PrefixCache, verify_share: float, shared_prompts: Mapping[str, str]
    ) -> None:
        """
        Args:
            pool: the models.
            cache: KV kept across requests.
            verify_share: how many of the reused prefixes are computed anew and compared, 0 to 1.
            shared_prompts: system prompts whose KV all sessions may share, by name.
        """
        self._pool = pool
        self._cache = cache
        self._verify_share = verify_share
        self._system_prompts = SystemPrompts(shared_prompts)
        self.drafting = Drafting(pool)
        self._reuses = 0

    def answer(self, job: GenerationJob, taken_up: float, peak_rss: PeakRss) -> None:
        """Answer a request, telling the job of every event up to the last.

        Raises:
            CancelledWhileLoadingError: it was cancelled before the model was there.
            GearboxError: whatever keeps it from being answered, in the user's words.
        """
        request = job.request
        ladder = self._prepare(job)
        load_s = perf_counter() - taken_up - ladder.tokenizing_s
        peak_rss.restart()
        first = ladder.attempts[0]
        recorder = RunRecorder(
            emit=job.emit,
            is_cancelled=job.is_cancelled,
            stop=request.config.sampling.stop,
            arrived=job.arrived,
            queue_s=taken_up - job.arrived,
            load_s=load_s,
            decode=first.opened.tokenizer.decode,
            stop_ids=first.opened.tokenizer.stop_ids,
            control_tokens=first.opened.tokenizer.control_tokens,
            prompt_tokens=len(first.prompt_ids),
            max_tokens=first.max_tokens,
            tier=ladder.name(first),
        )
        attempt, cascade = self._climb(ladder, recorder)
        self.drafting.remember(attempt.opened, request, (*attempt.prompt_ids, *recorder.token_ids))
        recorder.finish(
            weights_bytes=sum(one.model.weights_bytes for one in ladder.attempts),
            kv_bytes=attempt.trace.kv_bytes if attempt.trace else 0,
            peak_rss_bytes=peak_rss.read(),
            environment={
                **machine_environment(),
                **kernel_environment(self._pool.device),
                **attempt.model.environment,
                "weights_sha256": attempt.opened.checkpoint.weights_sha256,
                "weights": attempt.opened.checkpoint.provenance,
            },
            cache=attempt.cache,
            speculation=attempt.speculation(),
            cascade=cascade,
        )

    def _prepare(self, job: GenerationJob) -> Ladder:
        """All tiers in memory, with the prompt in the tokens of each. A tier of a cascade that cannot take part is left
        out."""

        waiting = _unless(job.is_cancelled)

        def loading(stage: str, fraction: float) -> None:
            waiting()
            job.notify(Loading(stage, fraction))

        request = job.request
        ladder = Ladder(request)
        for tier in ladder.tiers():
            try:
                opened = self._pool.open(tier.config.model)
                begun = perf_counter()
                prompt = opened.tokenizer.read_chat(tier.messages, waiting)
                prompt_ids = [*prompt.ids, *tier.begun]
                max_tokens = _room(opened, tier, len(prompt_ids))
                ladder.tokenizing_s += perf_counter() - begun
                model = self._pool.acquire(opened, tier.config, loading, keep=ladder.models)
            except (ModelNotInstalledError, UnknownModelError, ContextLengthError, InsufficientMemoryError) as error:
                if request.config.optimization.cascade is None:
                    raise
                ladder.unavailable.append(f"{tier.config.model} {tier.config.precision}: {error}")
                continue
            below = ladder.attempts[-1].opened.tokenizer.fingerprint if ladder.attempts else None
            drafters = self.drafting.drafters(
                opened, model, tier, loading, ladder.models, salvages=below == opened.tokenizer.fingerprint
            )
            attempt = Attempt(opened, model, drafters, tier, prompt_ids, max_tokens, read_anew=prompt.read_anew)
            ladder.attempts.append(attempt)
        if not ladder.attempts:
            raise InvalidRequestError("No tier of this cascade can answer. " + " ".join(ladder.unavailable))
        ladder.check()
        return ladder

    def _climb(self, ladder: Ladder, recorder: RunRecorder) -> tuple[Attempt, CascadeReport | None]:
        """Ask one tier after the other until one's answer is kept."""
        for place, attempt in enumerate(ladder.attempts):
            if place:
                recorder.begin(
                    decode=attempt.opened.tokenizer.decode,
                    stop_ids=attempt.opened.tokenizer.stop_ids,
                    control_tokens=attempt.opened.tokenizer.control_tokens,
                    max_tokens=attempt.max_tokens,
                    prompt_tokens=len(attempt.prompt_ids),
                    tier=ladder.name(attempt),
                )
            begun = recorder.elapsed_s
            judgement = ladder.first_look(place)
            if judgement is None or not judgement.goes_up:
                self._write(attempt, recorder, ladder.sink(place, judgement, recorder), ladder.models)
            if judgement is None or not ladder.goes_up(place, judgement, recorder):
                return attempt, ladder.report(attempt, judgement, recorder, begun)
            ladder.leave(place, judgement, recorder, begun)
        raise AssertionError("the last tier has nowhere to go up to")

    def _write(self, attempt: Attempt, recorder: RunRecorder, sink: TokenSink, keep: tuple[LoadedModel, ...]) -> None:
        if attempt.request.config.optimization.cache_mode is CacheMode.PREFIX:
            self._run_on_kept(attempt, recorder, sink, keep)
        else:
            self._run_alone(attempt, sink, keep)

    def _run_alone(self, run: Attempt, sink: TokenSink, keep: tuple[LoadedModel, ...]) -> None:
        """With KV of its own that is gone afterwards, or without any."""
        capacity, gears = len(run.prompt_ids) + run.max_tokens, run.request.config.optimization
        if gears.cache_mode is CacheMode.OFF:
            self._make_room(run, capacity, keep)
            run.go(sink, None)
        else:
            run.go(sink, self._new_cache(run, capacity, keep))

    def _run_on_kept(self, run: Attempt, recorder: RunRecorder, sink: TokenSink, keep: tuple[LoadedModel, ...]) -> None:
        """With KV that begins with what is kept of the prompt, and is kept afterwards."""
        request = run.request
        identity = _identity(run.opened, run.model, request)
        ids, tokenizer = as_ids(run.prompt_ids), run.opened.tokenizer
        system = self._system_prompts.of(request.messages, ids, identity, tokenizer, _unless(recorder.cancelled))
        report = explain(
            self._cache.index,
            identity,
            ids,
            request.messages,
            tokenizer.spell,
            cold=request.cold,
            system=system,
            read_anew=run.read_anew,
        )
        lease = self._lend(identity, ids, system, run, keep)
        with ExitStack() as if_it_fails:
            if_it_fails.callback(self._cache.discard, lease)
            trace = run.go(sink, lease.kv, verify=self._is_due(lease))
            if_it_fails.pop_all()
        if trace.verified is not None:
            self._cache.was_verified(lease, agrees=trace.verified)
        begun = tokenizer.decode(request.begun) if request.begun else ""
        answer = Message("assistant", begun + recorder.text, (*request.begun, *recorder.token_ids))
        self._cache.settle(
            lease,
            as_ids([*run.prompt_ids, *recorder.token_ids]),
            (*request.messages, answer),
            Work(len(run.prompt_ids) - lease.cached_tokens, recorder.prefill_s),
            lambda capacity: self._spare_cache(run, capacity),
        )
        run.cache = replace(report, verified=trace.verified)

    def _lend(
        self,
        identity: CacheIdentity,
        ids: Ids,
        system: SystemPrompt | None,
        run: Attempt,
        keep: tuple[LoadedModel, ...],
    ) -> Lease:
        def new_cache(capacity: int) -> KVCache:
            cache = self._new_cache(run, capacity, keep)
            if cache is None:
                raise TypeError("this backend keeps its own KV")
            return cache

        return self._cache.lend(
            identity,
            ids,
            len(ids) + run.max_tokens,
            new_cache,
            most_tokens=run.opened.config.context_length,
            cold=run.request.cold,
            system=system,
        )

    def _new_cache(self, run: Attempt, capacity: int, keep: tuple[LoadedModel, ...]) -> KVCache | None:
        gears = run.request.config.optimization
        self._make_room(run, capacity, keep)
        return run.model.new_cache(capacity, gears.kv_dtype, gears.window)

    def _spare_cache(self, run: Attempt, capacity: int) -> KVCache | None:
        """A cache that nothing has to go for; ``None`` if memory is short."""
        dtype = run.request.config.optimization.kv_dtype
        try:
            require_memory(run.model.kv_bytes(capacity, dtype), "A system prompt's KV", device=self._pool.device)
        except InsufficientMemoryError:
            return None
        return run.model.new_cache(capacity, dtype, None)

    def _make_room(self, run: Attempt, tokens: int, keep: tuple[LoadedModel, ...]) -> None:
        gears = run.request.config.optimization
        tokens = gears.window or tokens
        self._pool.make_room(run.model.kv_bytes(tokens, gears.kv_dtype), f"A KV cache of {tokens:,} tokens", keep=keep)

    def _is_due(self, lease: Lease) -> bool:
        """Whether it is this reuse's turn to be looked at."""
        if not lease.cached_tokens or lease.kv.slides:  # a window is lossy: computed anew it is another one
            return False
        before, self._reuses = self._reuses, self._reuses + 1
        return int(self._reuses * self._verify_share) > int(before * self._verify_share)


def _unless(is_cancelled: Callable[[], bool]) -> Callable[[], None]:
    """Waiting that ends when the request is cancelled."""

    def waiting() -> None:
        if is_cancelled():
            raise CancelledWhileLoadingError

    return waiting


def _identity(opened: OpenCheckpoint, model: LoadedModel, request: GenerationRequest) -> CacheIdentity:
    return CacheIdentity(
        weights_sha256=opened.checkpoint.weights_sha256,
        precision=str(request.config.precision),
        kernel=str(model.environment["kernel"]),
        kv_dtype=str(request.config.optimization.kv_dtype),
        window=request.config.optimization.window,
        salt=request.cache_salt,
    )


def _room(opened: OpenCheckpoint, request: GenerationRequest, prompt_tokens: int) -> int:
    """Tokens that an answer may have.

    Raises:
        ContextLengthError, InvalidRequestError: the prompt, or the window, does not fit the context.
    """
    context_length, window = opened.config.context_length, request.config.optimization.window
    max_tokens = request.config.sampling.max_tokens
    if window is None:
        if prompt_tokens >= context_length:
            raise ContextLengthError(prompt_tokens, context_length)
        return min(max_tokens, context_length - prompt_tokens)
    if window > context_length:
        raise InvalidRequestError(
            f"A sliding window of {window:,} tokens is larger than this model's context of {context_length:,}."
        )
    return max_tokens
