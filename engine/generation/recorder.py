"""One run's record while it happens: clock, text, stop conditions, metrics, events."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_int32
from itertools import pairwise
from time import perf_counter
from typing import Any

from engine.generation.choice import Choice
from engine.generation.recording import ToldCounts
from engine.generation.text import Detokenizer, StopMatcher, touches
from engine.repetition import repeated_in
from engine.types import (
    CacheReport,
    CascadeReport,
    Disturbance,
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
    token_ids_of,
)

HAND_OVER_S = 0.05
"""Tokens are handed over together: what comes sooner after the last time waits for the next token."""


class RunRecorder:
    """The token sink of one run. Lives in the engine's thread."""

    def __init__(
        self,
        *,
        emit: Callable[[Sequence[Event]], None],
        is_cancelled: Callable[[], bool],
        interrupt: c_int32,
        decode: Callable[[Sequence[int]], str],
        stop_ids: frozenset[int],
        control_tokens: Mapping[int, str],
        token_text: Callable[[int], str],
        stop: Sequence[str],
        max_tokens: int,
        prompt_tokens: int,
        arrived: float,
        queue_s: float,
        load_s: float,
        tier: str | None,
        has_ids: bool = True,
    ) -> None:
        self._emit = emit
        self._is_cancelled = is_cancelled
        self.interrupt = interrupt
        self._held: list[Event] = []
        """Tokens that have not been handed over yet."""
        self._handed_over = 0.0
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
            token_text=token_text,
            max_tokens=max_tokens,
            prompt_tokens=prompt_tokens,
            tier=tier,
            has_ids=has_ids,
        )
        self._tell(Started(prompt_tokens=prompt_tokens, queue_s=queue_s, load_s=load_s))

    def begin(
        self,
        *,
        decode: Callable[[Sequence[int]], str],
        stop_ids: frozenset[int],
        control_tokens: Mapping[int, str],
        token_text: Callable[[int], str],
        max_tokens: int,
        prompt_tokens: int,
        tier: str | None,
        has_ids: bool = True,
    ) -> None:
        """A model begins to answer; what one before it has written is thrown away. The clock runs on."""
        self._stop_ids = stop_ids
        # a control token is no part of the answer, but a stop string may be one, or hold one
        self._spelled = {
            token_id: token
            for token_id, token in control_tokens.items()
            if any(touches(stop, token) for stop in self._stop)
        }
        self._token_text = token_text
        self._detokenizer = Detokenizer(decode)
        self._stops = StopMatcher(self._stop)
        self._max_tokens = max_tokens
        self._prompt_tokens = prompt_tokens
        self._tier = tier
        self._has_ids = has_ids
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
        self._tell(escalated(len(self.tokens)))

    @property
    def elapsed_s(self) -> float:
        """Since the request arrived, loading left out."""
        return self._now()

    def cancelled(self) -> bool:
        return self._is_cancelled()

    def prefilled(self, cached_tokens: int, computed_tokens: int, hidden: tuple[float, ...]) -> None:
        self._prefill_s = self._now() - self._begun
        self._cached_tokens = cached_tokens
        self._tell(PrefillDone(cached_tokens, computed_tokens, hidden))

    @property
    def most(self) -> int:
        return max(1, self._max_tokens - len(self.tokens))

    def take(self, choices: Sequence[Choice]) -> tuple[int, bool]:
        reason = None
        taken = 0
        for taken, choice in enumerate(choices, start=1):
            text, reason = self._text_of(choice.token_id, is_last=taken == len(choices))
            logprob, entropy, margin = choice.confidence
            event = TokenEvent(
                choice.token_id if self._has_ids else None,
                text,
                choice.t - self._origin,
                logprob,
                entropy,
                choice.source,
                margin,
                self._tier,
                tuple(
                    (token_id if self._has_ids else None, self._token_text(token_id), top)
                    for token_id, top in choice.likeliest
                ),
            )
            self.tokens.append(event)
            self._held.append(event)
            self._accepted_tokens += choice.source == "draft"
            if reason is not None:
                self.finish_reason = reason
                break
        if reason is not None or len(self.tokens) == taken or perf_counter() - self._handed_over >= HAND_OVER_S:
            self._tell()
        return taken, reason is None

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The answer so far; empty where its tokens have no numbers of ours."""
        return token_ids_of(self.tokens)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens whose KV was reused."""
        return self._cached_tokens

    @property
    def prefill_s(self) -> float:
        """Seconds spent reading the prompt."""
        return self._prefill_s

    @property
    def text(self) -> str:
        """What the answer says so far."""
        return "".join(token.text for token in self.tokens)

    def end(self, reason: FinishReason) -> None:
        """The answer is over, and no token says so: what is held back of it comes out."""
        rest, matched = self._stops.push(self._detokenizer.flush())
        if rest := rest + self._stops.flush():
            event = TokenEvent(None, rest, self._now(), math.nan, math.nan, tier=self._tier)
            self.tokens.append(event)
            self._held.append(event)
        self.finish_reason = "stop" if matched else reason

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
        disturbance: Disturbance | None,
        mean_batch_size: float | None,
        told: ToldCounts | None = None,
    ) -> None:
        """Emit the run's last event.

        A smaller tier's answer drafts with the speculation gear off too: ``draft_rounds`` are there without a report.
        What ``told`` counts takes the place of what was counted here.
        """
        told = told or ToldCounts()
        times = [token.t for token in self.tokens]
        came_at_once = bool(times) and times[0] == times[-1]  # of that no TPOT can be told, and no ITL
        gaps = [] if came_at_once else [later - earlier for earlier, later in pairwise(times)]
        e2e_s = times[-1] if times else self._now()
        completion_tokens = _first_known(told.completion_tokens, len(self.tokens))
        metrics = RunMetrics(
            ttft_s=times[0] if times else None,
            tpot_s=(times[-1] - times[0]) / (completion_tokens - 1) if gaps and completion_tokens > 1 else None,
            itl_p50_s=statistics.median(gaps) if gaps else None,
            itl_p99_s=sorted(gaps)[-(-99 * len(gaps) // 100) - 1] if gaps else None,
            e2e_s=e2e_s,
            queue_s=self._queue_s,
            load_s=self._load_s,
            prefill_s=self._prefill_s,
            prompt_tokens=_first_known(told.prompt_tokens, self._prompt_tokens),
            cached_tokens=_first_known(told.cached_tokens, self._cached_tokens),
            completion_tokens=completion_tokens,
            drafted_tokens=_first_known(told.drafted_tokens, sum(len(entry.token_ids) for entry in draft_rounds)),
            accepted_tokens=_first_known(told.accepted_tokens, self._accepted_tokens),
            verification_steps=len(draft_rounds),
            discarded_tokens=self.discarded_tokens,
            weights_bytes=weights_bytes,
            kv_bytes=kv_bytes,
            peak_rss_bytes=peak_rss_bytes,
            repetition=repeated_in(self.tokens),
            mean_batch_size=mean_batch_size,
        )
        self._tell(
            RunFinished(
                self.text,
                self.token_ids,
                self.finish_reason,
                metrics,
                environment,
                cache,
                speculation,
                cascade,
                disturbance,
            )
        )

    def _now(self) -> float:
        return perf_counter() - self._origin

    def _tell(self, *events: Event) -> None:
        """Hand over what is held back, and these."""
        held, self._held = self._held, []
        self._handed_over = perf_counter()
        self._emit((*held, *events))

    def _text_of(self, token_id: int, *, is_last: bool) -> tuple[str, FinishReason | None]:
        """The text to show for a token, and why it is the answer's last one if it is.

        Args:
            token_id: the token.
            is_last: of those that are there; only behind it a cancelled run ends.
        """
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
        if written < self._max_tokens and not (is_last and self._is_cancelled()):
            return text, None
        rest, matched = self._stops.push(self._detokenizer.flush())
        reason: FinishReason = "stop" if matched else "length" if written >= self._max_tokens else "abort"
        return text + rest + self._stops.flush(), reason


def _first_known(told: int | None, counted: int) -> int:
    return counted if told is None else told
