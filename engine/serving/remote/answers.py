"""A server's answer as a run records and reports it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from engine.backends.remote.counters import Counters
from engine.backends.remote.exchange import Exchange
from engine.backends.remote.spelling import Spelling
from engine.errors import UnknownModelError
from engine.generation.recording import Recording, ToldCounts
from engine.machine.environment import machine_environment
from engine.types import FinishReason, GenerationRequest, RemoteModel, RemoteReport

FindRemote = Callable[[str], RemoteModel | None]
"""A server's model by its name; ``None`` where there is none of that name."""

MORE_THAN_ASKED = "The server wrote on after as many tokens as were asked for; it was not followed."


def find_none(_name: str) -> None:
    """Where no servers are known."""


def found_by(find: FindRemote, name: str) -> RemoteModel:
    """The server's model of that name.

    Raises:
        UnknownModelError: there is none.
        GearboxError: whatever keeps whoever looks it up from telling.
    """
    model = find(name)
    if model is None:
        raise UnknownModelError(f"No server's model is called {name} here. Those there are stand on the Models page.")
    return model


def identity_of(model: RemoteModel) -> str:
    """What tells a server's model from others: its address and name there, 64 hex digits. Its weights nobody sees."""
    return hashlib.sha256(f"{model.url}\n{model.served_name}".encode()).hexdigest()


def recording(spelling: Spelling, request: GenerationRequest, tier: str | None) -> Recording:
    """What the recorder must know of a server's model that begins to answer. One more token than asked for ends the
    answer, so that a server that keeps to it is heard to its end."""
    return Recording(
        decode=spelling.decode,
        stop_ids=frozenset(),
        control_tokens={},
        token_text=spelling.text,
        max_tokens=request.config.sampling.max_tokens + 1,
        prompt_tokens=0,
        tier=tier,
        has_ids=False,
    )


def finish_reason_of(exchange: Exchange) -> FinishReason:
    """Why a server's answer ended, in our words."""
    return "length" if exchange.reader.finish_reason == "length" else "stop"


def report_of(
    exchange: Exchange,
    before: Counters | None,
    after: Counters | None,
    notes: Sequence[str] = (),
) -> RemoteReport:
    """What is known of a run on a server: what it told with its answer, else what its counters did meanwhile, where no
    other request moved them."""
    reader, model = exchange.reader, exchange.model
    moved = after.since(before) if before is not None and after is not None else Counters()
    shared = _is_shared(moved, reader.completion_tokens)
    own = moved if shared is False else Counters()
    by_metrics = (own.cached_tokens, own.accepted_tokens) != (None, None)
    return RemoteReport(
        server=model.server,
        served_name=reader.served_name or model.served_name,
        connect_s=exchange.connect_s,
        first_byte_s=exchange.first_byte_s,
        attempts=exchange.attempts,
        counted=reader.completion_tokens is not None,
        prompt_counted=reader.prompt_tokens is not None,
        cached_tokens=_first_known(reader.cached_tokens, own.cached_tokens),
        drafted_tokens=_first_known(reader.drafted_tokens, own.drafted_tokens),
        accepted_tokens=_first_known(reader.accepted_tokens, own.accepted_tokens),
        counts_from=reader.counts_from or ("metrics" if by_metrics else None),
        shared=shared,
        notes=(*exchange.notes, *notes),
    )


def unasked(model: RemoteModel) -> RemoteReport:
    """What is known of a run that was cancelled before its server was asked."""
    return RemoteReport(
        server=model.server, served_name=model.served_name, attempts=0, counted=False, prompt_counted=False
    )


def _is_shared(moved: Counters, written_tokens: int | None) -> bool | None:
    """Whether others moved a server's counters too: more than one request ended, or more tokens were written than by
    this one; ``None`` where nobody can tell."""
    if moved.requests is not None and moved.requests > 1:
        return True
    if moved.written_tokens is not None and written_tokens is not None:
        if moved.written_tokens > written_tokens:
            return True
        return False if moved.requests is None or moved.requests else None  # 0: this one is not counted yet
    return False if moved.requests and moved.written_tokens is None else None


def told_by(report: RemoteReport, exchange: Exchange) -> ToldCounts:
    """What a run counts by what a server said."""
    reader = exchange.reader
    return ToldCounts(
        prompt_tokens=reader.prompt_tokens,
        completion_tokens=reader.completion_tokens,
        cached_tokens=report.cached_tokens,
        drafted_tokens=report.drafted_tokens,
        accepted_tokens=report.accepted_tokens,
    )


def environment_of(report: RemoteReport) -> dict[str, Any]:
    """What a run's figures hold for: this machine as the one that asks, and the server."""
    return {**machine_environment(), "device": f"server {report.server}", "remote": report.to_dict()}


def _first_known(told: int | None, counted: int | None) -> int | None:
    return counted if told is None else told
