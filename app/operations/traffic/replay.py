"""Sends the requests of a trace when they are due, by a number of clients at most."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from app.operations.traffic.arrivals import Arrival, Lengths, Messages, Trace
from app.operations.traffic.client import Answer, Client, body_of
from app.operations.traffic.prompts import PROBE_WORDS, Calibration, PromptWriter, some_words
from engine.errors import GearboxError


class ProbeError(GearboxError):
    """The server did not answer the first request, so no load is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A request that was sent."""

    number: int
    """In its trace, from 1."""
    session: str | None
    at_s: float
    """When it was due in its trace."""
    sent_s: float
    """Seconds after the first was due."""
    late_s: float | None
    """How much later than it was due: because no client was free, or the sender had too much to do. ``None`` where
    nothing is due at a time."""
    answer: Answer

    @property
    def ended_s(self) -> float:
        """Seconds after the first was due; of an answer that ended properly."""
        return self.sent_s + self.answer.e2e_s


@dataclass(slots=True)
class Progress:
    """How far a replay is. Filled in while it goes on, so that an interrupted one can be reported too."""

    sent: int = 0
    trace_s: float = 0.0
    """Time of the trace's latest request that was sent."""
    outcomes: list[Outcome] = field(default_factory=list)
    """In the order in which they ended."""
    errors: int = 0
    elapsed_s: float = 0.0
    """Until the last request ended."""

    @property
    def in_flight(self) -> int:
        """Requests that are sent and not ended."""
        return self.sent - len(self.outcomes)


async def calibrate(client: Client, *, model: str, seed: int, more: Mapping[str, Any]) -> Calibration:
    """Ask two short requests to learn how the server counts words. They also show that it answers, and make it load the
    model, which then counts into no measurement.

    Raises:
        ProbeError: it does not answer.
    """
    counts: list[int | None] = []
    for words in PROBE_WORDS:
        messages = [{"role": "user", "content": some_words(words, f"{seed} probe {words}")}]
        answer = await client.ask(body_of(model=model, messages=messages, max_tokens=1, more=more))
        if answer.error:
            said = f" ({answer.detail})" if answer.detail else ""
            raise ProbeError(f"The server does not answer a first request: {answer.error}{said}.")
        counts.append(answer.prompt_tokens)
    return Calibration.of_probes((counts[0], counts[1]))


async def replay(
    trace: Trace,
    client: Client,
    progress: Progress,
    *,
    model: str,
    writer: PromptWriter,
    clients: int,
    speed: float = 1.0,
    answer_scale: float = 1.0,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Send all requests of a trace, and wait for their answers.

    A request is sent when it is due; where all clients are busy by then, as soon as one is free (the loop is then
    closed). At most one request beyond those in flight is read from the trace and written out.

    Args:
        trace: what to send.
        client: whom to ask.
        progress: filled in.
        model: as the server calls it.
        writer: writes prompts of which only the length is known.
        clients: requests in flight at most.
        speed: by how much the trace's time is compressed; with infinity everything is due at once.
        answer_scale: most tokens of an answer against what the trace says.
        more: fields that are added to each request.

    Raises:
        TraceError: the trace cannot be read.
    """
    begun = perf_counter()
    free = asyncio.Semaphore(clients)

    async def send(number: int, arrival: Arrival, body: bytes, due_s: float) -> None:
        try:
            sent_s = perf_counter() - begun
            answer = await client.ask(body)
            progress.elapsed_s = perf_counter() - begun
            late_s = None if math.isinf(speed) else max(0.0, sent_s - due_s)
            progress.errors += answer.error is not None
            progress.outcomes.append(
                Outcome(
                    number=number,
                    session=arrival.session,
                    at_s=arrival.at_s,
                    sent_s=sent_s,
                    late_s=late_s,
                    answer=answer,
                )
            )
        finally:
            free.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            for number, arrival in enumerate(trace(), 1):
                body = body_of(
                    model=model,
                    messages=_messages(arrival, number, writer),
                    max_tokens=max(1, round(arrival.max_tokens * answer_scale)),
                    session=arrival.session,
                    more=more,
                )
                due_s = arrival.at_s / speed
                await asyncio.sleep(max(0.0, due_s - (perf_counter() - begun)))
                await free.acquire()
                progress.sent, progress.trace_s = number, arrival.at_s
                tasks.create_task(send(number, arrival, body, due_s))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # a trace that changed while it was read


def _messages(arrival: Arrival, number: int, writer: PromptWriter) -> Messages:
    if isinstance(arrival.prompt, Lengths):
        return ({"role": "user", "content": writer.text(arrival.prompt, number)},)
    return arrival.prompt
