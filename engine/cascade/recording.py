"""A run as a record: what a tier answered, and what that took."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from engine.cascade.records import TierAnswer
from engine.types import Event, PrefillDone, RunFinished, TokenEvent


def tier_answer(events: Iterable[Event], score: Callable[[str], float | None]) -> TierAnswer | None:
    """The record of a run; ``None`` if it was cancelled or failed.

    Args:
        events: all of a run's. Waiting in the queue is left out of its times.
        score: how right a text is, 0 to 1.
    """
    tokens, finished = [], None
    hidden: tuple[float, ...] = ()
    for event in events:
        if isinstance(event, TokenEvent):
            tokens.append(event)
        elif isinstance(event, PrefillDone):
            hidden = event.hidden
        elif isinstance(event, RunFinished):
            finished = event
    if finished is None or finished.metrics is None or finished.finish_reason == "abort":
        return None
    metrics = finished.metrics
    margins = tuple(_finite(token.margin) for token in tokens if token.margin is not None)
    return TierAnswer(
        text=finished.text,
        token_ids=finished.token_ids,
        score=score(finished.text),
        prompt_tokens=metrics.prompt_tokens,
        completion_tokens=metrics.completion_tokens,
        prefill_s=metrics.prefill_s,
        ttft_s=None if metrics.ttft_s is None else metrics.ttft_s - metrics.queue_s,
        e2e_s=metrics.e2e_s - metrics.queue_s,
        finish_reason=finished.finish_reason,
        logprobs=tuple(_finite(token.logprob) for token in tokens),
        entropies=tuple(_finite(token.entropy) for token in tokens),
        margins=margins if len(margins) == len(tokens) else (),
        repetition=metrics.repetition,
        hidden=hidden if all(map(math.isfinite, hidden)) else (),
    )


def _finite(value: float) -> float:
    """A record is JSON, which has no infinity."""
    return value if math.isfinite(value) else math.copysign(1e4, value) if math.isinf(value) else 0.0
