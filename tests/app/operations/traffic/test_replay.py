"""Requests are sent when they are due, by no more clients than there are, and only what ended is reported."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from app.operations.traffic.arrivals import Arrival, Lengths, Trace, TraceError
from app.operations.traffic.client import open_client
from app.operations.traffic.prompts import Calibration, PromptWriter
from app.operations.traffic.replay import ProbeError, Progress, calibrate, replay
from tests.support.scripted_server import Reply, ScriptedServer


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def trace(*times: float) -> Trace:
    return lambda: (Arrival(at_s=at_s, prompt=Lengths(20), max_tokens=8) for at_s in times)


def replayed(
    server: ScriptedServer, what: Trace, *, clients: int = 4, speed: float = 1.0, scale: float = 1.0, **more: Any
) -> Progress:
    progress = Progress()

    async def whole() -> None:
        async with open_client(server.url, clients=clients, timeout_s=30, environ={}) as client:
            await replay(
                what,
                client,
                progress,
                model="m",
                writer=PromptWriter(Calibration()),
                clients=clients,
                speed=speed,
                answer_scale=scale,
                more=more,
            )

    asyncio.run(whole())
    return progress


def test_no_request_is_sent_before_it_is_due(server: ScriptedServer) -> None:
    progress = replayed(server, trace(0, 2, 4), speed=20)
    sent = {outcome.number: outcome.sent_s for outcome in progress.outcomes}
    assert all(sent[number] >= due_s for number, due_s in ((1, 0), (2, 0.1), (3, 0.2)))
    for outcome in progress.outcomes:
        assert outcome.late_s == pytest.approx(outcome.sent_s - outcome.at_s / 20)
    assert progress.elapsed_s >= max(outcome.ended_s for outcome in progress.outcomes)


def test_as_many_as_there_are_clients_are_in_flight_and_no_more(server: ScriptedServer) -> None:
    server.holds_until = 3
    progress = replayed(server, trace(*[0.0] * 10), clients=3)
    assert server.most_at_once == 3
    assert len(progress.outcomes) == progress.sent == 10
    assert progress.in_flight == progress.errors == 0


def test_a_client_that_is_busy_sends_late_and_says_by_how_much(server: ScriptedServer) -> None:
    server.script = lambda _: Reply(wait_s=0.1)
    progress = replayed(server, trace(0, 0), clients=1)
    late = sorted(outcome.late_s or 0 for outcome in progress.outcomes)
    assert late[1] > 0.099


def test_at_infinite_speed_nothing_waits_and_nothing_is_late(server: ScriptedServer) -> None:
    progress = replayed(server, trace(0, 10**6, 10**7), clients=1, speed=math.inf)
    assert [outcome.late_s for outcome in progress.outcomes] == [None] * 3


def test_errors_are_outcomes_beside_the_others(server: ScriptedServer) -> None:
    replies = iter([Reply(), Reply(status=429, error={}), Reply(ending="cut"), Reply()])
    server.script = lambda _: next(replies)
    progress = replayed(server, trace(0, 0, 0, 0), clients=1)
    assert [outcome.answer.error for outcome in progress.outcomes] == [None, "HTTP 429", "broken stream", None]
    assert progress.errors == 2


def test_messages_sessions_and_further_fields_are_sent_as_they_are(server: ScriptedServer) -> None:
    messages = ({"role": "system", "content": "S"}, {"role": "user", "content": "U"})
    arrival = Arrival(at_s=0, prompt=messages, max_tokens=100, session="anna")
    replayed(server, lambda: iter([arrival]), scale=0.25, top_p=0.5, temperature=1)
    (body,) = server.bodies
    assert (body["messages"], body["user"], body["max_tokens"]) == (list(messages), "anna", 25)
    assert (body["top_p"], body["temperature"]) == (0.5, 1)


def test_no_more_of_a_trace_is_read_than_can_be_sent(server: ScriptedServer) -> None:
    read: list[int] = []

    def endless() -> Iterator[Arrival]:
        for number in range(10**9):
            read.append(number)
            yield Arrival(at_s=0, prompt=Lengths(1), max_tokens=1)

    server.script = lambda _: Reply(ending="hang")

    async def begun() -> None:
        async with open_client(server.url, clients=2, timeout_s=30, environ={}) as client:
            writer = PromptWriter(Calibration())
            work = asyncio.create_task(replay(endless, client, Progress(), model="m", writer=writer, clients=2))
            while len(server.bodies) < 2:
                await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

    asyncio.run(begun())
    assert len(read) == 3


def test_a_trace_that_breaks_on_the_way_says_so_itself(server: ScriptedServer) -> None:
    def broken() -> Iterator[Arrival]:
        yield Arrival(at_s=0, prompt=Lengths(1), max_tokens=1)
        raise TraceError("Line 2: it has changed.")

    with pytest.raises(TraceError, match="Line 2"):
        replayed(server, broken)


def test_probes_learn_how_the_server_counts_words(server: ScriptedServer) -> None:
    def counting(body: Mapping[str, Any]) -> Reply:
        words = len(body["messages"][0]["content"].split())
        return Reply(usage={"prompt_tokens": 12 + 2 * words, "completion_tokens": 1})

    server.script = counting
    found = probe(server)
    assert (found.tokens_per_word, found.template_tokens, found.measured) == (2, 12, True)
    assert [body["max_tokens"] for body in server.bodies] == [1, 1]


def test_a_server_that_refuses_the_first_request_is_not_loaded(server: ScriptedServer) -> None:
    server.script = lambda _: Reply(status=404, error={"error": {"message": "no model m"}})
    with pytest.raises(ProbeError, match=r"HTTP 404 \(no model m\)"):
        probe(server)
    assert len(server.bodies) == 1


def probe(server: ScriptedServer) -> Calibration:
    async def asked() -> Calibration:
        async with open_client(server.url, clients=1, timeout_s=30, environ={}) as client:
            return await calibrate(client, model="m", seed=0, more={})

    return asyncio.run(asked())
