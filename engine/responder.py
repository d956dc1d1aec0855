"""One answer from start to end: model, prompt, KV, tokens, and what is kept afterwards. In the engine's thread."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter

from engine.backends.base import LoadedModel, RunTrace
from engine.cache import CacheIdentity, Ids, KVCache, Lease, PrefixCache, Work, as_ids, explain
from engine.drafting import Drafters, Drafting
from engine.environment import kernel_environment, machine_environment
from engine.errors import ContextLengthError, InvalidRequestError
from engine.generation.recorder import RunRecorder
from engine.memory import PeakRss
from engine.pool import ModelPool, OpenCheckpoint
from engine.speculation import Speculator
from engine.types import CacheMode, CacheReport, GenerationRequest, Loading, Message, SpeculationReport
from engine.worker import GenerationJob


class CancelledWhileLoadingError(Exception):
    """Ends loading from inside its progress."""


@dataclass(slots=True)
class _Run:
    """All that one answer is made with."""

    opened: OpenCheckpoint
    model: LoadedModel
    drafters: Drafters | None
    request: GenerationRequest
    prompt_ids: list[int]
    max_tokens: int
    recorder: RunRecorder
    _speculator: Speculator | None = None

    @property
    def models(self) -> tuple[LoadedModel, ...]:
        """What must stay in memory while it lasts."""
        return (self.model, *(self.drafters.models if self.drafters else ()))

    def go(self, kv: KVCache | None, *, verify: bool = False) -> RunTrace:
        """Write the answer."""
        if self.drafters:
            self._speculator = self.drafters.speculator(self.prompt_ids, self.max_tokens, kv)
        return self.model.run(
            self.prompt_ids,
            self.request.config.sampling,
            self.max_tokens,
            self.recorder,
            kv,
            verify=verify,
            speculator=self._speculator,
        )

    def speculation(self) -> SpeculationReport | None:
        """How speculative decoding went, with what was drafted as text."""
        if self._speculator is None:
            return None
        report, token_text = self._speculator.report(), self.opened.tokenizer.token_text
        rounds = (replace(entry, texts=tuple(map(token_text, entry.token_ids))) for entry in report.rounds)
        return replace(report, rounds=tuple(rounds))


class Responder:
    """Answers requests with the models of a pool and the KV of a prefix cache."""

    def __init__(self, pool: ModelPool, cache: PrefixCache, verify_share: float) -> None:
        """
        Args:
            pool: the models.
            cache: KV kept across requests.
            verify_share: how many of the reused prefixes are computed anew and compared, 0 to 1.
        """
        self._pool = pool
        self._cache = cache
        self._verify_share = verify_share
        self.drafting = Drafting(pool)
        self._reuses = 0

    def answer(self, job: GenerationJob, taken_up: float, peak_rss: PeakRss) -> None:
        """Answer a request, telling the job of every event up to the last.

        Raises:
            CancelledWhileLoadingError: it was cancelled before the model was there.
            GearboxError: whatever keeps it from being answered, in the user's words.
        """
        request, config = job.request, job.request.config

        def loading(stage: str, fraction: float) -> None:
            if job.is_cancelled():
                raise CancelledWhileLoadingError
            job.notify(Loading(stage, fraction))

        opened = self._pool.open(config.model)
        load_s = perf_counter() - taken_up
        prompt_ids = [*opened.tokenizer.encode_chat(request.messages), *request.begun]
        context_length = opened.config.context_length
        window = config.optimization.window
        if window is None and len(prompt_ids) >= context_length:
            raise ContextLengthError(len(prompt_ids), context_length)
        if window is not None and window > context_length:
            raise InvalidRequestError(
                f"A sliding window of {window:,} tokens is larger than this model's context of {context_length:,}."
            )
        tokenized = perf_counter()
        model = self._pool.acquire(opened, config, loading)
        drafters = self.drafting.drafters(opened, model, request, loading)
        load_s += perf_counter() - tokenized
        max_tokens = config.sampling.max_tokens
        if window is None:
            max_tokens = min(max_tokens, context_length - len(prompt_ids))
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
        run = _Run(opened, model, drafters, request, prompt_ids, max_tokens, recorder)
        if config.optimization.cache_mode is CacheMode.PREFIX:
            trace, report = self._run_on_kept(run)
        else:
            trace, report = self._run_alone(run), None
        self.drafting.remember(opened, request, (*prompt_ids, *recorder.token_ids))
        recorder.finish(
            weights_bytes=model.weights_bytes,
            kv_bytes=trace.kv_bytes,
            peak_rss_bytes=peak_rss.read(),
            environment={
                **machine_environment(),
                **kernel_environment(self._pool.device),
                **model.environment,
                "weights_sha256": opened.checkpoint.weights_sha256,
                "weights": opened.checkpoint.provenance,
            },
            cache=report,
            speculation=run.speculation(),
        )

    def _run_alone(self, run: _Run) -> RunTrace:
        """With KV of its own that is gone afterwards, or without any."""
        capacity, gears = len(run.prompt_ids) + run.max_tokens, run.request.config.optimization
        if gears.cache_mode is CacheMode.OFF:
            self._make_room(run, capacity)
            return run.go(None)
        return run.go(self._new_cache(run, capacity))

    def _run_on_kept(self, run: _Run) -> tuple[RunTrace, CacheReport]:
        """With KV that begins with what is kept of the prompt, and is kept afterwards."""
        request, recorder = run.request, run.recorder
        identity = _identity(run.opened, run.model, request)
        ids = as_ids(run.prompt_ids)
        report = explain(
            self._cache.index, identity, ids, request.messages, run.opened.tokenizer.spell, cold=request.cold
        )  # fmt: skip
        lease = self._lend(identity, ids, run)
        with ExitStack() as if_it_fails:
            if_it_fails.callback(self._cache.discard, lease)
            trace = run.go(lease.kv, verify=self._is_due(lease))
            if_it_fails.pop_all()
        if trace.verified is not None:
            self._cache.was_verified(lease, agrees=trace.verified)
        begun = run.opened.tokenizer.decode(request.begun) if request.begun else ""
        answer = Message("assistant", begun + recorder.text, (*request.begun, *recorder.token_ids))
        self._cache.settle(
            lease,
            as_ids([*run.prompt_ids, *recorder.token_ids]),
            (*request.messages, answer),
            Work(len(run.prompt_ids) - lease.cached_tokens, recorder.prefill_s),
        )
        return trace, replace(report, verified=trace.verified)

    def _lend(self, identity: CacheIdentity, ids: Ids, run: _Run) -> Lease:
        def new_cache(capacity: int) -> KVCache:
            cache = self._new_cache(run, capacity)
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
        )

    def _new_cache(self, run: _Run, capacity: int) -> KVCache | None:
        gears = run.request.config.optimization
        self._make_room(run, capacity)
        return run.model.new_cache(capacity, gears.kv_dtype, gears.window)

    def _make_room(self, run: _Run, tokens: int) -> None:
        gears = run.request.config.optimization
        tokens = gears.window or tokens
        self._pool.make_room(
            run.model.kv_bytes(tokens, gears.kv_dtype), f"A KV cache of {tokens:,} tokens", keep=run.models
        )

    def _is_due(self, lease: Lease) -> bool:
        """Whether it is this reuse's turn to be looked at."""
        if not lease.cached_tokens or lease.kv.slides:  # a window is lossy: computed anew it is another one
            return False
        before, self._reuses = self._reuses, self._reuses + 1
        return int(self._reuses * self._verify_share) > int(before * self._verify_share)


def _identity(opened: OpenCheckpoint, model: LoadedModel, request: GenerationRequest) -> CacheIdentity:
    return CacheIdentity(
        weights_sha256=opened.checkpoint.weights_sha256,
        precision=str(request.config.precision),
        kernel=str(model.environment["kernel"]),
        kv_dtype=str(request.config.optimization.kv_dtype),
        window=request.config.optimization.window,
        salt=request.cache_salt,
    )
