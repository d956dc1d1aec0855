"""One run's record while it happens: clock, text, stop conditions, metrics, events."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from time import perf_counter
from typing import Any, Protocol

from engine.generation.confidence import Confidence
from engine.generation.text import Detokenizer, StopMatcher, touches
from engine.repetition import repeated_share
from engine.types import (
    CacheReport,
    CascadeReport,
    DraftRound,
    Escalated,
    Event,
    FinishReason,
    PrefillDone,
    RunFinished,
    RunMetrics,
    SpeculationReport,
    Started,
    TokenEvent,
    TokenSource,
)


class TokenSink(Protocol):
    """What a backend tells of its progress, and hears back."""

    def cancelled(self) -> bool:
        """Whether to stop. A backend asks before each chunk of prefill."""
        ...

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        """The prompt's KV is complete.

        Args:
            cached_tokens: reused.
            computed_tokens: of the prompt.
            hidden: the model's state after it, as a random projection; empty where it is not known.
        """
        ...

    def token(self, token_id: int, confidence: Confidence, source: TokenSource = "target") -> bool:
        """One token has been chosen. ``False``: it was the last."""
        ...


class RunRecorder:
    """The token sink of one run. Lives in the engine's thread."""

    def __init__(
        self,
        *,
        emit: Callable[[Event], None],
        is_cancelled: Callable[[], bool],
        decode: Callable[[Sequence[int]], str],
        stop_ids: frozenset[int],
        control_tokens: Mapping[int, str],
        stop: Sequence[str],
        max_tokens: int,
        prompt_tokens: int,
        arrived: float,
        queue_s: float,
        load_s: float,
        tier: str | None,
    ) -> None:
        self._emit = emit
        self._is_cancelled = is_cancelled
        self._stop = stop
        self._queue_s = queue_s
        self._load_s = load_s
        self._origin = arrived + load_s
        """Zero of the run's clock: its arrival, moved by the time spent loading."""
        self.discarded_tokens = 0
        """Written and thrown away, because a larger model took over."""
        self.begin(
            decode=decode,
            stop_ids=stop_ids,
            control_tokens=control_tokens,
            max_tokens=max_tokens,
            prompt_tokens=prompt_tokens,
            tier=tier,
        )
        emit(Started(prompt_tokens=prompt_tokens, queue_s=queue_s, load_s=load_s))

    def begin(
        self,
        *,
        decode: Callable[[Sequence[int]], str],
        stop_ids: frozenset[int],
        control_tokens: Mapping[int, str],
        max_tokens: int,
        prompt_tokens: int,
        tier: str | None,
    ) -> None:
        """A model begins to answer; what one before it has written is thrown away. The clock runs on."""
        self._stop_ids = stop_ids
        # a control token is no part of the answer, but a stop string may be one, or hold one
        self._spelled = {
            token_id: token
            for token_id, token in control_tokens.items()
            if any(touches(stop, token) for stop in self._stop)
        }
        self._detokenizer = Detokenizer(decode)
        self._stops = StopMatcher(self._stop)
        self._max_tokens = max_tokens
        self._prompt_tokens = prompt_tokens
        self._tier = tier
        self._cached_tokens = 0
        self._begun = self._now()
        self._prefill_s = 0.0
        self.tokens: list[TokenEvent] = []
        """The answer so far."""
        self._accepted_tokens = 0
        self.finish_reason: FinishReason = "abort"
        """Why it ended; ``abort`` until it has."""

    def discard(self, escalated: Callable[[int], Escalated]) -> None:
        """Throw away what has been written, and tell of it.

        Args:
            escalated: makes the event from the number of tokens thrown away.
        """
        self.discarded_tokens += len(self.tokens)
        self._emit(escalated(len(self.tokens)))

    @property
    def elapsed_s(self) -> float:
        """Since the request arrived, loading left out."""
        return self._now()

    def cancelled(self) -> bool:
        return self._is_cancelled()

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        self._prefill_s = self._now() - self._begun
        self._cached_tokens = cached_tokens
        self._emit(PrefillDone(cached_tokens, computed_tokens, hidden))

    def token(self, token_id: int, confidence: Confidence, source: TokenSource = "target") -> bool:
        t = self._now()
        text, reason = self._text_of(token_id)
        logprob, entropy, margin = confidence
        event = TokenEvent(token_id, text, t, logprob, entropy, source, margin, self._tier)
        self.tokens.append(event)
        self._emit(event)
        self._accepted_tokens += source == "draft"
        if reason is not None:
            self.finish_reason = reason
        return reason is None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The answer so far."""
        return tuple(token.token_id for token in self.tokens)

    @property
    def prefill_s(self) -> float:
        """Seconds spent reading the prompt."""
        return self._prefill_s

    @property
    def text(self) -> str:
        """What the answer says so far."""
        return "".join(token.text for token in self.tokens)

    def finish(
        self,
        *,
        weights_bytes: int,
        kv_bytes: int,
        peak_rss_bytes: int,
        environment: Mapping[str, Any],
        cache: CacheReport | None,
        draft_rounds: Sequence[DraftRound],
        speculation: SpeculationReport | None,
        cascade: CascadeReport | None,
    ) -> None:
        """Emit the run's last event.

        A smaller tier's answer drafts with the speculation gear off too: ``draft_rounds`` are there without a report.
        """
        times = [token.t for token in self.tokens]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        e2e_s = times[-1] if times else self._now()
        metrics = RunMetrics(
            ttft_s=times[0] if times else None,
            tpot_s=(times[-1] - times[0]) / len(gaps) if gaps else None,
            itl_p50_s=statistics.median(gaps) if gaps else None,
            itl_p99_s=sorted(gaps)[-(-99 * len(gaps) // 100) - 1] if gaps else None,
            e2e_s=e2e_s,
            queue_s=self._queue_s,
            load_s=self._load_s,
            prefill_s=self._prefill_s,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            completion_tokens=len(self.tokens),
            drafted_tokens=sum(len(entry.token_ids) for entry in draft_rounds),
            accepted_tokens=self._accepted_tokens,
            verification_steps=len(draft_rounds),
            discarded_tokens=self.discarded_tokens,
            weights_bytes=weights_bytes,
            kv_bytes=kv_bytes,
            peak_rss_bytes=peak_rss_bytes,
            repetition=repeated_share(self.token_ids),
        )
        self._emit(
            RunFinished(
                self.text, self.token_ids, self.finish_reason, metrics, environment, cache, speculation, cascade
            )
        )

    def _now(self) -> float:
        return perf_counter() - self._origin

    def _text_of(self, token_id: int) -> tuple[str, FinishReason | None]:
        """The text to show for a token, and why it is the last one if it is."""
        ends = token_id in self._stop_ids
        text, matched = self._stops.push(self._detokenizer.flush() if ends else self._detokenizer.push(token_id))
        if not matched and token_id in self._spelled:
            before = text
            text, matched = self._stops.push(self._spelled[token_id], shown=False)
            text = before + text
        if matched:
            return text, "stop"
        if ends:
            return text + self._stops.flush(), "stop"
        written = len(self.tokens) + 1
        if written < self._max_tokens and not self._is_cancelled():
            return text, None
        rest, matched = self._stops.push(self._detokenizer.flush())
        reason: FinishReason = "stop" if matched else "length" if written >= self._max_tokens else "abort"
        return text + rest + self._stops.flush(), reason
