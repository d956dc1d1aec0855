"""Two answers to one prompt held against each other: where they part, and why one may be worth less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.runs.repetition import repetition_warning
from app.runs.verdict.outcome import Outcome
from app.store import RunStatus
from engine.types import KVDtype, RunConfig


def first_difference(first: Sequence[object], other: Sequence[object]) -> int | None:
    """The place (from 0) where two sequences part, which is the shorter one's end if it begins the longer one.

    ``None`` if they are equal.
    """
    for place, (mine, theirs) in enumerate(zip(first, other, strict=False)):
        if mine != theirs:
            return place
    return None if len(first) == len(other) else min(len(first), len(other))


def likeness(first: Outcome, other: Outcome) -> str:
    """How alike two answers are, on a few words. Tokens are compared only within one model of this machine, words
    otherwise."""
    if is_same_answer(first, other):
        return "identical text"
    same_model = first.writer == other.writer and bool(first.token_ids or other.token_ids)
    unit = "token" if same_model else "word"
    mine, theirs = ((run.token_ids if same_model else run.text.split()) for run in (first, other))
    place = first_difference(mine, theirs)
    if place is None:
        return "identical text"
    if place < min(len(mine), len(theirs)):
        return f"text differs from {unit} {place + 1}"
    shorter = first if len(mine) < len(theirs) else other
    return f"same text up to {unit} {place}, where {shorter.name} {ending(shorter)}"


def is_same_answer(first: Outcome, other: Outcome) -> bool:
    """Whether both say the same, and ended alike."""
    return first.text == other.text and first.finish_reason == other.finish_reason


def ending(run: Outcome) -> str:
    """How a run came to its end, after its name."""
    if run.status is not RunStatus.FINISHED:
        return "was stopped" if run.status is RunStatus.STOPPED else "broke off"
    return "reached its max tokens" if run.finish_reason == "length" else "ended by itself"


def unlike(first: Outcome, other: Outcome) -> tuple[str, ...]:
    """Why being faster makes neither answer the better one: clauses that a sentence can be made of, none where the
    answers are of the same worth as far as that can be told without reading them."""
    return tuple(_unlike(first, other))


def _unlike(first: Outcome, other: Outcome) -> Iterator[str]:
    if first.writer != other.writer:
        yield f"{first.writer} wrote {first.name}'s answer and {other.writer} {other.name}'s"
    elif not is_same_answer(first, other) and (lossy := _lossy(first, other)):
        yield f"the text differs, which {lossy} may have made worse"
    if is_same_answer(first, other):
        return
    if first.finish_reason != other.finish_reason or first.status != other.status:
        yield f"{first.name} {ending(first)} and {other.name} {ending(other)}"
    lengths = [run.metrics.completion_tokens if run.metrics else len(run.token_ids) for run in (first, other)]
    if lengths[0] != lengths[1]:
        shorter, longer = sorted(zip(lengths, (first.name, other.name), strict=True))
        yield f"{shorter[1]}'s answer is shorter ({shorter[0]:,} and {longer[0]:,} tokens)"
    repeating = [run.name for run in (first, other) if repetition_warning(run.metrics, run.config)]
    if len(repeating) == 1:
        yield f"{repeating[0]}'s answer repeats itself"
    if _sampling(first.config) != _sampling(other.config):
        yield "the sampling settings differ"


def _lossy(first: Outcome, other: Outcome) -> str:
    """Which lossy gears one of the two has and the other has not, in words; empty if there are none."""
    mine, theirs = (_losses(run) for run in (first, other))
    return " and ".join(dict.fromkeys(name for name in (*theirs, *mine) if (name in mine) != (name in theirs)))


def _losses(run: Outcome) -> tuple[str, ...]:
    gears = run.config.optimization
    weights = [str(run.writer_precision)] if run.writer_precision.info.lossy else []
    kept = ["KV in int8"] if gears.kv_dtype is KVDtype.INT8 else []
    return (*weights, *kept, *([f"a window of {gears.window:,} tokens"] if gears.window else []))


def _sampling(config: RunConfig) -> object:
    """What decides which tokens are likely; the draw and the length are no part of it."""
    return replace(config.sampling, seed=0, max_tokens=1)
