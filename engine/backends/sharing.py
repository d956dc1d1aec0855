"""Passes of several sequences performed beside one another, each with the result that it has alone."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int32
from functools import partial
from time import perf_counter
from typing import Any

from torch import Tensor

from engine.generation.choice import Choice
from engine.generation.choosing import Chooser, choose_beside
from engine.models.decoders.native_decoder import NativeDecoder, Segment
from engine.passes import Continuation, Hidden, Logits, Outcome, Pass, outcome_of

Shared = Hidden | Logits | Continuation

REFUSALS = (MemoryError, RuntimeError, ValueError)
"""What is raised where several things cannot be done at once. Nothing has been done then, so that each is done alone:
whose fault it was is told, and the others have their results."""


def perform_together(wanted: Sequence[Pass[Any]], interrupt: c_int32) -> list[Outcome]:
    """Perform one pass of each of several sequences.

    What can share a model's pass does, so that its weights are read once for all. Continuations with nothing else
    beside them get several tokens, as many each, until the first of them ends; beside other work they get one. What
    has to be alone, and what other models do, is performed one after the other. No result depends on the company, to
    the last bit, and what goes wrong with one sequence is told to that one only.

    Args:
        wanted: of sequences that share no cache and no text.
        interrupt: ends continuations after a token once it is not 0, for somebody else waits.

    Returns:
        What came of each, in the same order.
    """
    outcomes: dict[int, Outcome] = {}
    groups: dict[int, tuple[NativeDecoder, dict[int, Shared]]] = {}
    for place, asked in enumerate(wanted):
        if isinstance(asked, Shared) and (native := asked.decoder.native_for(len(asked.ids))):
            groups.setdefault(id(native), (native, {}))[1][place] = asked
        else:
            outcomes[place] = outcome_of(asked.perform)
    for native, group in groups.values():
        outcomes |= zip(group, _perform(native, list(group.values()), interrupt), strict=True)
    return [outcomes[place] for place in range(len(wanted))]


def _perform(native: NativeDecoder, passes: list[Shared], interrupt: c_int32) -> list[Outcome]:
    continuations = [asked for asked in passes if isinstance(asked, Continuation)]
    if len(continuations) == len(passes):
        asked = [(c.chooser.ask(c.interrupt, c.most, c.seconds), c.cache) for c in continuations]
        texts = [(text, cache) for text, cache in asked if text is not None]
        if len(texts) == len(passes):
            try:
                native.write_many(texts, interrupt)
            except REFUSALS:
                return [outcome_of(c.perform) for c in continuations]
            return [outcome_of(c.chooser.take) for c in continuations]
    return _read(native, passes)


def _read(native: NativeDecoder, passes: list[Shared]) -> list[Outcome]:
    """One forward pass over the rows of all, one product with the head for those that need logits, and one token for
    each continuation."""
    begun, segments = perf_counter(), [Segment(asked.ids, asked.cache) for asked in passes]
    outcomes = dict(enumerate(_forward(native, segments)))
    sound = [i for i, asked in enumerate(passes) if not isinstance(asked, Hidden) and outcomes[i].error is None]
    outcomes |= zip(sound, _logits(native, [outcomes[i].result for i in sound]), strict=True)
    seconds, rows = perf_counter() - begun, sum(len(ids) for ids, _ in segments)
    for asked in passes:
        if isinstance(asked, Logits):
            asked.seconds, asked.rows = seconds, rows
    choosers = {i: asked.chooser for i, asked in enumerate(passes) if isinstance(asked, Continuation)}
    choosers = {i: chooser for i, chooser in choosers.items() if outcomes[i].error is None}
    outcomes |= zip(choosers, _choose(list(choosers.values()), [outcomes[i].result[0] for i in choosers]), strict=True)
    return [outcomes[i] for i in range(len(passes))]


def _forward(native: NativeDecoder, segments: list[Segment]) -> list[Outcome]:
    try:
        return [Outcome(hidden) for hidden in native.forward_many(segments)]
    except REFUSALS:
        return [outcome_of(partial(native.forward, *segment)) for segment in segments]


def _logits(native: NativeDecoder, hidden: list[Tensor]) -> list[Outcome]:
    if not hidden:
        return []
    try:
        return [Outcome(rows) for rows in native.logits_many(hidden)]
    except REFUSALS:
        return [outcome_of(partial(native.logits, rows)) for rows in hidden]


def _choose(choosers: list[Chooser], logits: list[Tensor]) -> list[Outcome]:
    try:
        chosen = choose_beside(choosers, logits)
    except REFUSALS:
        chosen = False
    if chosen:
        return [outcome_of(chooser.take) for chooser in choosers]
    return [outcome_of(partial(_choose_one, chooser, row)) for chooser, row in zip(choosers, logits, strict=True)]


def _choose_one(chooser: Chooser, logits: Tensor) -> list[Choice]:
    return [chooser.choose(logits)]
