"""A request over real HTTP: what it measured, and every way in which it can go wrong."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping

import pytest

from app.operations.traffic.client import Answer, body_of, open_client
from tests.support.scripted_server import Reply, ScriptedServer

KEY = "sk-very-secret-123"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


def ask(url: str, *, timeout_s: float = 30, environ: Mapping[str, str] | None = None) -> Answer:
    async def once() -> Answer:
        async with open_client(url, clients=1, timeout_s=timeout_s, environ=environ or {}) as client:
            return await client.ask(body_of(model="m", messages=[{"role": "user", "content": "Hi"}], max_tokens=3))

    return asyncio.run(once())


def answered(server: ScriptedServer, reply: Reply, timeout_s: float = 30) -> Answer:
    server.script = lambda _: reply
    return ask(server.url, timeout_s=timeout_s)


def test_an_answer_is_timed_and_counted_as_the_server_counts(server: ScriptedServer) -> None:
    answer = answered(server, Reply(wait_s=0.05, gap_s=0.03))
    assert answer.error is None
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens, answer.counted) == (10, 4, 3, True)
    # asleep on the other side of the connection, on the same clock: never shorter
    assert answer.ttft_s > 0.049
    assert len(answer.gaps_s) == 2
    assert answer.e2e_s > 0.109
    assert answer.e2e_s >= answer.ttft_s + sum(answer.gaps_s)
    assert answer.tpot_s == (answer.e2e_s - answer.ttft_s) / 2


def test_what_is_asked_is_greedy_streamed_and_asks_for_usage(server: ScriptedServer) -> None:
    ask(server.url)
    body = server.bodies[0]
    assert (body["temperature"], body["stream"], body["stream_options"]) == (0, True, {"include_usage": True})
    assert (body["model"], body["max_tokens"]) == ("m", 3)
    assert "authorization" not in server.headers[0]


def test_without_usage_pieces_of_text_are_counted_and_said_to_be(server: ScriptedServer) -> None:
    answer = answered(server, Reply(usage=None, texts=("a", "", "b")))
    assert (answer.completion_tokens, answer.counted, answer.prompt_tokens) == (2, False, None)


@pytest.mark.parametrize(
    "usage", [{"completion_tokens": -3}, {"completion_tokens": "7"}, {"completion_tokens": True}, {}]
)
def test_usage_that_cannot_be_is_none(server: ScriptedServer, usage: dict[str, object]) -> None:
    answer = answered(server, Reply(usage=usage))
    assert (answer.error, answer.completion_tokens, answer.counted) == (None, 3, False)


def test_an_empty_answer_ended_properly(server: ScriptedServer) -> None:
    answer = answered(server, Reply(texts=(), usage={"completion_tokens": 1}))
    assert answer.error is None
    assert answer.ttft_s == answer.e2e_s > 0
    assert answer.tpot_s is None


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 503, 307])
def test_a_refusal_is_told_by_its_status_with_the_servers_words(server: ScriptedServer, status: int) -> None:
    answer = answered(server, Reply(status=status, error={"error": {"message": "No\nsuch   model."}}))
    assert (answer.error, answer.detail) == (f"HTTP {status}", "No such   model.")
    assert (answer.ttft_s, answer.completion_tokens, answer.tpot_s) == (0, 0, None)


@pytest.mark.parametrize("error", [None, "plain", ["list"], {"detail": "x" * 10_000}, {"error": {"message": 5}}])
def test_a_refusal_in_another_shape_is_told_too(server: ScriptedServer, error: object) -> None:
    answer = answered(server, Reply(status=500, error=error))
    assert answer.error == "HTTP 500"
    assert len(answer.detail) <= 200
    assert "finish_reason" not in answer.detail


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(ending="cut"), "broken stream"),
        (Reply(ending="no mark"), "broken stream"),
        (Reply(ending="no reason"), "broken stream"),
        (Reply(reason="abort"), "error in stream"),
        (Reply(chunks=("{no json",)), "broken stream"),
        (Reply(chunks=('{"a": NaN}',)), "broken stream"),
        (Reply(chunks=("[1, 2]",)), "broken stream"),
        (Reply(chunks=("x" * 2**21,)), "broken stream"),
        (Reply(chunks=('{"error": {"message": "out of memory"}}',)), "error in stream"),
        (Reply(media_type="application/json"), "broken stream"),
    ],
)
def test_what_did_not_end_properly_is_no_answer(server: ScriptedServer, reply: Reply, kind: str) -> None:
    answer = answered(server, reply)
    assert answer.error == kind
    assert (answer.ttft_s, answer.e2e_s, answer.completion_tokens, list(answer.gaps_s)) == (0, 0, 0, [])


@pytest.mark.parametrize(
    "chunk", ['{"choices": 5}', '{"choices": [7]}', '{"choices": [{"delta": 3}]}', '{"usage": [], "choices": []}', "{}"]
)
def test_chunks_of_an_unknown_shape_are_passed_over(server: ScriptedServer, chunk: str) -> None:
    assert answered(server, Reply(chunks=(chunk,))).error is None


@pytest.mark.parametrize("reply", [Reply(ending="hang"), Reply(wait_s=3600)])
def test_a_server_that_hangs_is_left_after_the_timeout(server: ScriptedServer, reply: Reply) -> None:
    assert answered(server, reply, timeout_s=0.2).error == "timeout"


def test_no_server_is_no_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        assert ask(f"http://127.0.0.1:{taken.getsockname()[1]}").error == "no connection"


def test_the_key_is_sent_and_never_repeated(server: ScriptedServer) -> None:
    server.script = lambda _: Reply(status=401, error={"error": {"message": f"Incorrect key {KEY} provided"}})
    answer = ask(server.url, environ={"GEARBOX_API_KEY": KEY, "OPENAI_API_KEY": "another"})
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert answer.detail == "Incorrect key … provided"
