"""Stand-ins for the engine: quick, scripted, and true to its contract."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from engine import (
    AnswerDivergence,
    AnswerToken,
    CacheStatus,
    Corpus,
    CorpusPrompt,
    EvictedSequence,
    FirstDifference,
    KeptSequence,
    TokenChance,
    Window,
    WindowDivergence,
    machine_environment,
)
from engine.errors import GearboxError
from engine.models.sources.progress import Progress, silent
from engine.types import (
    DEFAULT_KV_CACHE_BYTES,
    CascadeConfig,
    Disturbance,
    Event,
    FinishReason,
    GenerationRequest,
    Heartbeat,
    Loading,
    Message,
    OptimizationConfig,
    Precision,
    PrefillDone,
    Queued,
    RemoteStatus,
    RunConfig,
    RunFailed,
    RunFinished,
    RunMetrics,
    SamplingParams,
    SpeculationConfig,
    SpeculationReport,
    Started,
    TokenEvent,
    TokenSource,
    backend_of,
)


def make_request(
    prompt: str = "Why is the sky blue?",
    *,
    model: str = "smollm2-135m",
    precision: Precision = Precision.BF16,
    system: str | None = None,
    sampling: SamplingParams | None = None,
    speculation: SpeculationConfig | None = None,
    cascade: CascadeConfig | None = None,
) -> GenerationRequest:
    """A valid request."""
    messages = (Message("user", prompt),)
    return GenerationRequest(
        messages=(Message("system", system), *messages) if system else messages,
        config=RunConfig(
            model=model,
            backend=backend_of(model),
            optimization=OptimizationConfig.at(precision, speculation=speculation, cascade=cascade),
            sampling=sampling or SamplingParams(),
        ),
    )


@dataclass(frozen=True)
class FakeStatus:
    """What `FakeEngine.status` says."""

    running: bool
    queued: int = 0
    resident: tuple[object, ...] = ()
    device: str = "cpu"
    kv_share: float = 0.0
    kv_bytes: int = 0
    preemptions: int = 0


class FakeEngine:
    """Streams the scripted token texts to every request, and remembers the requests.

    Args:
        tokens: the text of each token of the answer.
        delay_s: real time to wait before each token; figures are made of it, or of 10 ms if it is 0.
        failure: raised to no one; its message ends the run as `RunFailed` after ``fail_after`` tokens.
        fail_after: how many tokens come before the failure.
        queued: positions in the queue that are reported first.
        gate: after the first token only heartbeats come until this is set, or the run is cancelled.
    """

    def __init__(
        self,
        tokens: Sequence[str] = ("The", " sky", " scatters", " blue", " light", "."),
        *,
        delay_s: float = 0.0,
        failure: GearboxError | None = None,
        fail_after: int = 0,
        queued: Sequence[int] = (),
        gate: threading.Event | None = None,
    ) -> None:
        self.tokens = tuple(tokens)
        self.delay_s = delay_s
        self.failure = failure
        self.fail_after = fail_after
        self.queued = tuple(queued)
        self.gate = gate
        self.requests: list[GenerationRequest] = []
        self.generations: list[FakeGeneration] = []
        self.closed = False
        self.kv_cache_bytes = DEFAULT_KV_CACHE_BYTES
        self.kept: tuple[KeptSequence, ...] = ()
        self.forgotten: list[str] = []
        self.evicted: tuple[EvictedSequence, ...] = ()
        self.verified = self.mismatches = 0
        self.report: SpeculationReport | None = None
        self.speedup = 1.0
        self.servers: tuple[RemoteStatus, ...] = ()
        """How the servers stand that it has asked."""
        self.disturbances: list[Disturbance] = []
        """Of the next runs, in turn; a disturbed one takes four times as long."""

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        """Answer with the script."""
        self.requests.append(request)
        generation = FakeGeneration(self, request)
        self.generations.append(generation)
        return generation

    def says(self, request: GenerationRequest) -> Sequence[str]:
        """The tokens of the answer to a request."""
        return self.tokens

    def fails(self, request: GenerationRequest) -> GearboxError | None:
        """What ends the run of a request."""
        return self.failure

    def remote_status(self) -> tuple[RemoteStatus, ...]:
        """What ``servers`` has been set to."""
        return self.servers

    def cache_status(self) -> CacheStatus:
        """What ``kept`` and ``evicted`` have been set to."""
        return CacheStatus(
            budget_bytes=self.kv_cache_bytes,
            kept=self.kept,
            evicted=self.evicted,
            verified=self.verified,
            mismatches=self.mismatches,
        )

    def set_cache_budget(self, kv_cache_bytes: int) -> None:
        """Remembered."""
        self.kv_cache_bytes = kv_cache_bytes

    def forget_session(self, salt: str) -> None:
        """Remembered."""
        self.forgotten.append(salt)

    def status(self) -> FakeStatus:
        """Running while a generation is neither over nor closed."""
        return FakeStatus(running=any(not generation.over for generation in self.generations))

    def close(self) -> None:
        """Close all that is still open."""
        self.closed = True
        for generation in self.generations:
            generation.close()


class FakeGeneration:
    """One scripted answer."""

    def __init__(self, engine: FakeEngine, request: GenerationRequest) -> None:
        self._engine = engine
        self._request = request
        self._max_tokens = request.config.sampling.max_tokens
        self._prompt_tokens = sum(len(message.content.split()) for message in request.messages)
        self._cancelled = threading.Event()
        self._disturbance = engine.disturbances.pop(0) if engine.disturbances else None
        self._events = self._script()
        self.closed = False
        self.over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        if self.closed or self.over:
            raise StopIteration
        event = next(self._events)
        self.over = isinstance(event, RunFinished | RunFailed)
        return event

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop before the next token; the final event still comes."""
        self._cancelled.set()

    def close(self) -> None:
        """Stop, and yield nothing more."""
        self._cancelled.set()
        self.closed = self.over = True

    def _script(self) -> Iterator[Event]:
        engine = self._engine
        done: list[str] = []
        for position in engine.queued:
            yield Queued(position)
            if self.cancelled:
                yield self._finish(done, "abort")
                return
        yield Loading("Loading the fake model", 1.0)
        yield Started(prompt_tokens=self._prompt_tokens, queue_s=0.0, load_s=0.25)
        yield PrefillDone(cached_tokens=0, computed_tokens=self._prompt_tokens)
        tokens = tuple(engine.says(self._request))
        for index, text in enumerate(tokens[: self._max_tokens]):
            if engine.fails(self._request) and index >= engine.fail_after:
                break
            yield from self._wait(index)
            if self.cancelled:
                yield self._finish(done, "abort")
                return
            done.append(text)
            yield TokenEvent(
                token_id=100 + index,
                text=text,
                t=self._time(index),
                logprob=-0.5,
                entropy=1.25,
                source=self._source(index),
            )
        if self.cancelled:
            yield self._finish(done, "abort")
        elif failure := engine.fails(self._request):
            yield RunFailed(error=str(failure), kind=type(failure).__name__)
        else:
            yield self._finish(done, "stop" if len(tokens) <= self._max_tokens else "length")

    def _wait(self, index: int) -> Iterator[Event]:
        time.sleep(self._engine.delay_s)
        gate = self._engine.gate
        while index and gate and not gate.wait(0.02) and not self.cancelled:
            yield Heartbeat(elapsed_s=self._time(index))

    def _time(self, index: int) -> float:
        return (index + 1) * self._step_s

    @property
    def _report(self) -> SpeculationReport | None:
        return self._engine.report if self._request.config.optimization.speculation else None

    @property
    def _step_s(self) -> float:
        held_up = 4.0 if self._disturbance and self._disturbance.is_disturbed else 1.0
        return held_up * (self._engine.delay_s or 0.01) / (self._engine.speedup if self._report else 1.0)

    def _source(self, index: int) -> TokenSource:
        for drafted in self._report.rounds if self._report else ():
            if drafted.at <= index < drafted.at + drafted.accepted:
                return "draft"
            if index == drafted.at + drafted.accepted == drafted.at + len(drafted.token_ids):
                return "bonus"
        return "target"

    def _finish(self, done: list[str], reason: FinishReason) -> RunFinished:
        step = self._step_s
        count = len(done)
        rounds = self._report.rounds if self._report else ()
        return RunFinished(
            text="".join(done),
            token_ids=tuple(100 + index for index in range(count)),
            finish_reason=reason,
            metrics=replace(
                make_metrics(
                    ttft_s=step if count else None,
                    tpot_s=step if count > 1 else None,
                    e2e_s=step * count,
                    prompt_tokens=self._prompt_tokens,
                    completion_tokens=count,
                ),
                drafted_tokens=sum(len(drafted.token_ids) for drafted in rounds),
                accepted_tokens=sum(drafted.accepted for drafted in rounds),
                verification_steps=len(rounds),
            ),
            environment={**machine_environment(), "device": "cpu", "threads": 2},
            speculation=self._report,
            disturbance=self._disturbance,
        )


def make_metrics(
    *,
    ttft_s: float | None = 0.1,
    tpot_s: float | None = 0.01,
    e2e_s: float | None = None,
    prompt_tokens: int = 12,
    completion_tokens: int = 6,
    peak_rss_bytes: int = 900_000_000,
) -> RunMetrics:
    """Plausible metrics around the ones given; E2E follows from the others unless it is given."""
    if e2e_s is None:
        e2e_s = (ttft_s or 0.0) + (tpot_s or 0.0) * max(0, completion_tokens - 1)
    return RunMetrics(
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        itl_p50_s=tpot_s,
        itl_p99_s=tpot_s,
        e2e_s=e2e_s,
        queue_s=0.0,
        load_s=0.25,
        prefill_s=(ttft_s or 0.0) / 2,
        prompt_tokens=prompt_tokens,
        cached_tokens=0,
        completion_tokens=completion_tokens,
        drafted_tokens=0,
        accepted_tokens=0,
        weights_bytes=150_000_000,
        kv_bytes=23_040 * (prompt_tokens + completion_tokens),
        peak_rss_bytes=peak_rss_bytes,
    )


class FakeLabEngine(FakeEngine):
    """An engine whose comparisons are made up, and the farther from 16 bits the fewer bits there are.

    Args:
        tokens: the text of each token of every answer.
        n_windows: windows of running text.
        klds: mean KLD by precision; 0.01 where it is not given.
        before_window: called with the precision ahead of each comparison of a window; may raise.
        failure, gate: as for `FakeEngine`.
    """

    WEIGHTS = "ab" * 32

    def __init__(
        self,
        tokens: Sequence[str] = ("The", " sky", " scatters", " blue", " light", "."),
        *,
        n_windows: int = 3,
        klds: Mapping[str, float] | None = None,
        before_window: Callable[[Precision], None] = lambda precision: None,
        failure: GearboxError | None = None,
        gate: threading.Event | None = None,
    ) -> None:
        super().__init__(tokens, failure=failure, gate=gate)
        self.n_windows = n_windows
        self.klds = dict(klds or {})
        self.before_window = before_window
        self.answered: list[CorpusPrompt] = []
        self.compared: list[tuple[Precision, Window]] = []
        self.read_again: list[tuple[str, tuple[int, ...], tuple[OptimizationConfig, ...]]] = []
        """What was asked, the answer, and who read it."""

    def weights_sha256(self, model: str) -> str:
        """The same for every model."""
        return self.WEIGHTS

    def windows(self, model: str, corpus: Corpus, progress: Progress = silent) -> tuple[Window, ...]:
        """One window a prompt, or ``n_windows`` of running text."""
        self.answered += corpus.prompts
        count = len(corpus.prompts) or self.n_windows
        return tuple(Window((1, 2, 3, len(self.answered) + place), 2) for place in range(count))

    def compare_window(
        self, model: str, precision: Precision, window: Window, progress: Progress = silent
    ) -> WindowDivergence:
        """Two tokens a window."""
        self.before_window(precision)
        progress("Loading the fake model", 1.0)
        self.compared.append((precision, window))
        kld = 0.0 if precision is Precision.BF16 else self.klds.get(precision, 0.01)
        return make_divergence([kld / 2, kld * 1.5])

    def compare_candidates(
        self,
        request: GenerationRequest,
        token_ids: Sequence[int],
        candidates: Sequence[OptimizationConfig],
        progress: Progress = silent,
    ) -> tuple[WindowDivergence, ...]:
        """As far from 16 bits at each token."""
        progress("Loading the fake model", 1.0)
        self.read_again.append((request.prompt, tuple(token_ids), tuple(candidates)))
        return tuple(
            make_divergence([self.klds.get(candidate.precision, 0.01)] * len(token_ids)) for candidate in candidates
        )

    def compare_answer(
        self, request: GenerationRequest, token_ids: Sequence[int], progress: Progress = silent
    ) -> AnswerDivergence:
        """The third token is one that the 16-bit model would not have written."""
        kld = self.klds.get(request.config.precision, 0.01)
        top = tuple(TokenChance(7 + n, f" choice{n}", 0.5 / (n + 1)) for n in range(5))
        return AnswerDivergence(
            tokens=tuple(
                AnswerToken(
                    token_id=token_id,
                    text=text,
                    kld=kld,
                    delta_p=-0.03,
                    p=0.5,
                    q=0.47,
                    flip=place == 2,
                    reference_top=top,
                    candidate_top=top[::-1],
                )
                for place, (token_id, text) in enumerate(zip(token_ids, self.tokens, strict=False))
            ),
            first_difference=FirstDifference(
                index=2,
                candidate_choice=TokenChance(102, self.tokens[2], 0.41),
                reference_choice=TokenChance(9, " reflects", 0.42),
                candidate_gap=0.12,
                reference_gap=0.05,
            ),
        )


def make_divergence(kld: Sequence[float], *, same_top: Sequence[bool] | None = None) -> WindowDivergence:
    """Figures of a window around the KLD of its tokens."""
    figures = np.asarray(kld, dtype=np.float32)
    return WindowDivergence(
        kld=figures,
        delta_p=-figures / 10,
        same_top=np.asarray(same_top if same_top is not None else figures < 0.5, dtype=np.bool_),
        nll_ref=np.full(len(figures), 1.5, dtype=np.float32),
        nll_cand=1.5 + figures,
    )
