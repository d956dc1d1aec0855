"""What reuse saved a turn: derived from what reading prompts took, or measured against the same turn started cold."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app import units
from app.store import RunRecord
from engine.types import MissCause

LEAST_COMPUTED = 32
"""Tokens of a prompt that must have been computed for its seconds a token to say anything: below, a pass takes about
as long as for one token."""


def saving_words(run: RunRecord, before: Sequence[RunRecord], answers: Sequence[RunRecord]) -> str:
    """What reuse saved a turn: "saved about 310 ms", "saved about 310 ms, measured 295 ms"; empty where it saved
    nothing, or nobody can tell. Of an answer that was started cold, what reuse saved another one to the same turn.

    Args:
        run: of the answer.
        before: the runs of the earlier turns.
        answers: those of all answers to the same turn.
    """
    if not _is_cold(run):
        return _words(derived_saving_s(run, before), measured_saving_s(run, answers))
    warm = [
        each for each in answers if each.config_hash == run.config_hash and measured_saving_s(each, [run]) is not None
    ]
    if not warm:
        return ""
    other = max(warm, key=lambda each: each.created_at)
    words = _words(derived_saving_s(other, before), measured_saving_s(other, [run]))
    return f"reuse {words} in the other answer"


def derived_saving_s(run: RunRecord, before: Sequence[RunRecord]) -> float | None:
    """Seconds: reused tokens × measured prefill seconds per computed token, to two digits.

    The rate is that of the run which computed most tokens, among this one and those before it in the conversation with
    the same weights and arithmetic: a short prompt's says little. Long prompts take longer a token, so that this rather
    tells too little.

    Returns:
        ``None`` where nothing was reused, or no run computed enough tokens to tell.
    """
    if run.metrics is None or not run.metrics.cached_tokens:
        return None
    rates = [
        (computed, each.metrics.prefill_s / computed)
        for each in (*before, run)
        if each.metrics and _reads_alike(each, run) and (computed := _computed(each)) >= LEAST_COMPUTED
    ]
    if not rates:
        return None
    _, seconds = max(rates)
    return _two_digits(run.metrics.cached_tokens * seconds)


def measured_saving_s(run: RunRecord, answers: Sequence[RunRecord]) -> float | None:
    """Seconds by which the first token came sooner than that of the same turn started cold, waiting left out; below
    zero where it came later.

    Args:
        run: which reused something.
        answers: all to the same turn; the latest cold one with the same configuration counts.
    """
    cold = [each for each in answers if _is_cold(each) and each.config_hash == run.config_hash]
    alike = [each for each in cold if each.metrics and each.metrics.ttft_s is not None]
    if not alike or run.metrics is None or run.metrics.ttft_s is None or not run.metrics.cached_tokens:
        return None
    other = max(alike, key=lambda each: each.created_at).metrics
    assert other is not None
    assert other.ttft_s is not None
    return (other.ttft_s - other.queue_s) - (run.metrics.ttft_s - run.metrics.queue_s)


def _words(derived_s: float | None, measured_s: float | None) -> str:
    measured = ""
    if measured_s is not None:
        measured = f"measured {units.seconds(measured_s)}" if measured_s > 0 else "measured nothing"
    if derived_s:
        return f"saved about {units.seconds(derived_s)}{f', {measured}' if measured else ''}"
    return f"saved, {measured}" if measured else ""


def _is_cold(run: RunRecord) -> bool:
    return run.cache is not None and run.cache.cause is MissCause.COLD


def _computed(run: RunRecord) -> int:
    return run.metrics.prompt_tokens - run.metrics.cached_tokens if run.metrics else 0


def _reads_alike(run: RunRecord, other: RunRecord) -> bool:
    return _reader(run) == _reader(other)


def _reader(run: RunRecord) -> tuple[object, ...]:
    """What reads the prompt: the weights, how they are held and multiplied, and how KV is kept."""
    held = run.cascade.tier if run.cascade else f"{run.model} {run.precision}"
    environment = run.environment
    return (held, run.backend, run.gears.kv_dtype, environment.get("weights_sha256"), environment.get("kernel"))


def _two_digits(seconds: float) -> float:
    return round(seconds, 1 - math.floor(math.log10(seconds))) if seconds > 0 else 0.0
