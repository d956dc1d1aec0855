"""Two runs of one prompt put into words, with their numbers.

Speed is the ratio of TPOT, and of TTFT. E2E is compared only where both runs wrote equally many tokens.
Tokens are compared only within one model, words otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from app import units
from app.store.runs.records import RunStatus
from engine.types import FinishReason, RunConfig, RunMetrics

# Two measurements closer than this are called equal: it is less than what one machine varies between runs.
EVEN = 0.03
_QUEUED_S = 0.05

Tone = Literal["better", "worse", "even", "none"]
"""How the second run's speed compares with the first's; ``none`` where it cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a verdict needs to know of one run."""

    name: str
    """What it is called in the verdict: "Lane A"."""
    config: RunConfig
    status: RunStatus
    text: str = ""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    metrics: RunMetrics | None = None
    tier: str | None = None
    """Of a cascade, who answered."""

    @property
    def writer(self) -> str:
        """The model that answered."""
        return self.tier.rpartition(" ")[0] if self.tier else self.config.model


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the second of two runs compares with the first."""

    summary: str
    """One sentence with its numbers."""
    details: tuple[str, ...]
    """What the numbers are made of, and what to keep in mind; a sentence each."""
    tone: Tone


def judge(first: Outcome, other: Outcome) -> Verdict:
    """Say what ``other`` gains and loses against ``first``."""
    a, b = first.metrics, other.metrics
    missing = tuple(_missing(first, other))
    if a is None or b is None or missing:
        return Verdict(f"No comparison: {' and '.join(missing)}.", (), "none")
    speed = a.tpot_s / b.tpot_s if a.tpot_s and b.tpot_s else None
    parts = [_speed(speed), _weights(a.weights_bytes, b.weights_bytes), _likeness(first, other)]
    summary = f"{other.name} against {first.name}: " + ", ".join(part for part in parts if part) + "."
    return Verdict(summary, (*_figures(a, b), *_caveats(first, other)), _tone(speed))


def first_difference(first: Sequence[object], other: Sequence[object]) -> int | None:
    """The place (from 0) where two sequences part, which is the shorter one's end if it begins the longer one.

    ``None`` if they are equal.
    """
    for place, (mine, theirs) in enumerate(zip(first, other, strict=False)):
        if mine != theirs:
            return place
    return None if len(first) == len(other) else min(len(first), len(other))


def _missing(first: Outcome, other: Outcome) -> Iterator[str]:
    for run in (first, other):
        if run.metrics is None or run.metrics.ttft_s is None:
            yield f"{run.name} {_END[run.status]}"


_END = {
    RunStatus.RUNNING: "is still running",
    RunStatus.FINISHED: "wrote nothing",
    RunStatus.STOPPED: "was stopped before its first token",
    RunStatus.FAILED: "failed",
    RunStatus.INTERRUPTED: "was interrupted",
}


# --- the summary's parts ------------------------------------------------------------------------------


def _speed(ratio: float | None) -> str:
    if ratio is None:
        return "speed per token unknown (TPOT needs two tokens)"
    return _gain(ratio, "faster", "slower", "as fast per token")


def _weights(before: int, after: int) -> str:
    if not before or abs(after / before - 1) < 0.005:
        return ""
    return f"{units.percent(abs(1 - after / before))} {'less' if after < before else 'more'} weight memory"


def _likeness(first: Outcome, other: Outcome) -> str:
    if first.text == other.text and first.finish_reason == other.finish_reason:
        return "identical text"
    same_model = first.writer == other.writer
    unit = "token" if same_model else "word"
    mine, theirs = ((run.token_ids if same_model else run.text.split()) for run in (first, other))
    place = first_difference(mine, theirs)
    if place is None:
        return "identical text"
    if place < min(len(mine), len(theirs)):
        return f"text differs from {unit} {place + 1}"
    shorter = first if len(mine) < len(theirs) else other
    return f"same text up to {unit} {place}, where {shorter.name} {_ending(shorter)}"


def _ending(run: Outcome) -> str:
    if run.status is not RunStatus.FINISHED:
        return "was stopped" if run.status is RunStatus.STOPPED else "broke off"
    return "reached its max tokens" if run.finish_reason == "length" else "ended"


def _tone(ratio: float | None) -> Tone:
    if ratio is None:
        return "none"
    return "even" if abs(ratio - 1) <= EVEN else "better" if ratio > 1 else "worse"


# --- the details --------------------------------------------------------------------------------------


def _figures(a: RunMetrics, b: RunMetrics) -> Iterator[str]:
    if a.tpot_s and b.tpot_s:
        yield f"TPOT {units.seconds(a.tpot_s)} → {units.seconds(b.tpot_s)}."
    if a.ttft_s and b.ttft_s:
        sooner = _gain(a.ttft_s / b.ttft_s, "sooner", "later", "as soon")
        yield f"TTFT {units.seconds(a.ttft_s)} → {units.seconds(b.ttft_s)}, {sooner}."
    if a.completion_tokens == b.completion_tokens:
        yield f"E2E {units.seconds(a.e2e_s)} → {units.seconds(b.e2e_s)} for {a.completion_tokens:,} tokens each."
    else:
        yield f"E2E is not compared: {a.completion_tokens:,} and {b.completion_tokens:,} tokens were written."


def _caveats(first: Outcome, other: Outcome) -> Iterator[str]:
    if first.config == other.config:
        yield "Both have the same configuration: a difference in speed is noise."
    for run in (first, other):
        if run.tier:
            yield f"{run.name} is a cascade, and {run.tier} answered."
        if run.metrics and run.metrics.discarded_tokens:
            lost = units.counted(run.metrics.discarded_tokens, "token")
            yield f"{run.name} threw away {lost} of a smaller model; its TTFT and E2E include that, its TPOT does not."
    if first.writer != other.writer:
        yield "The models differ, so the texts are compared by words."
    if first.config.sampling != other.config.sampling:
        yield "The sampling settings differ."
    if max(first.config.sampling.temperature, other.config.sampling.temperature) > 0:
        yield "Sampled at a temperature above 0: a different text alone says nothing about quality."
    for run in (first, other):
        if run.status is not RunStatus.FINISHED:
            yield f"{run.name} {_ending(run)} after {len(run.token_ids):,} tokens."
        if run.metrics and run.metrics.queue_s > _QUEUED_S:
            waited = units.seconds(run.metrics.queue_s)
            yield f"{run.name} waited {waited} for another request; its TTFT and E2E include that."


def _gain(ratio: float, more: str, less: str, even: str) -> str:
    if abs(ratio - 1) <= EVEN:
        return even
    return f"{units.ratio(ratio)} {more}" if ratio > 1 else f"{units.ratio(1 / ratio)} {less}"
