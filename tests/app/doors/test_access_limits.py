"""The check before the API: how large a body, how many requests, how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from tests.support.asgi import ask, ask_async, make_scope
from tests.support.clock import Clock
from tests.support.guarded import FREE, Keys, bearer, call, guarded


@pytest.mark.parametrize("client", ["127.0.0.1", "192.0.2.7"])
def test_a_body_may_have_so_many_bytes_and_no_more(keys: Keys, client: str) -> None:
    app = guarded(keys, only_this_machine=client == "127.0.0.1")
    assert '"bytes":1000' in call(app, bearer(keys.secret), client=client, body=b"x" * 1_000).text
    answer = call(app, bearer(keys.secret), client=client, body=b"x" * 1_001)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert "1,000 bytes" in answer.error["message"]


def endless() -> Iterator[bytes]:
    """A body that would be read for ever."""
    for _ in range(100):
        yield b"x" * 300
    raise AssertionError("It was read on.")


def test_a_body_that_says_nothing_of_its_size_is_not_read_to_its_end(keys: Keys) -> None:
    answer = ask(guarded(keys), make_scope("/v1/echo", bearer(keys.secret), method="POST"), endless())
    assert answer.status == 413


@pytest.mark.parametrize("announced", ["10", "-1", "", "x", "²", "9" * 5_000])
def test_what_a_body_says_of_its_size_is_not_believed(keys: Keys, announced: str) -> None:
    scope = make_scope("/v1/echo", bearer(keys.secret), ("Content-Length", announced.encode()), method="POST")
    assert ask(guarded(keys), scope, endless()).status == 413


def test_a_body_that_says_it_is_too_large_is_not_read_at_all(keys: Keys) -> None:
    def unread() -> Iterator[bytes]:
        yield b""
        raise AssertionError("It was read.")

    scope = make_scope("/v1/echo", bearer(keys.secret), ("Content-Length", "1001"), method="POST")
    assert ask(guarded(keys), scope, unread()).status == 413


def test_nothing_is_read_of_a_body_without_a_key(keys: Keys) -> None:
    assert ask(guarded(keys), make_scope("/v1/echo", method="POST"), endless()).status == 401


def test_a_body_in_parts_arrives_as_a_whole(keys: Keys) -> None:
    scope = make_scope("/v1/echo", bearer(keys.secret), method="POST")
    assert '"bytes":6' in ask(guarded(keys), scope, (b"ab", b"", b"cdef")).text


def test_requests_a_minute_are_counted_by_key() -> None:
    keys, clock = Keys(replace(FREE, requests_per_minute=3)), Clock()
    app = guarded(keys, clock=clock)
    assert [call(app, bearer(keys.secret)).status for _ in range(4)] == [200, 200, 200, 429]
    refused = call(app, bearer(keys.secret))
    assert (refused.headers["retry-after"], refused.error["type"]) == ("20", "requests")
    assert refused.error["code"] == "rate_limit_exceeded"
    clock.now += 20
    assert [call(app, bearer(keys.secret)).status for _ in range(2)] == [200, 429]
    keys.key = replace(keys.key, id="another")
    assert call(app, bearer(keys.secret)).status == 200


def test_tokens_a_minute_are_waited_for_once_they_are_used() -> None:
    keys, clock = Keys(replace(FREE, tokens_per_minute=60)), Clock()
    app = guarded(keys, clock=clock)
    assert call(app, bearer(keys.secret), body=b"x" * 90).status == 200  # the application spends a token a byte
    refused = call(app, bearer(keys.secret))
    assert (refused.status, refused.headers["retry-after"], refused.error["type"]) == (429, "30", "tokens")
    clock.now += 31
    assert call(app, bearer(keys.secret)).status == 200


def slow(started: list[int], let_go: asyncio.Event) -> FastAPI:
    """An API whose answers come when they are let go."""
    api = FastAPI()

    @api.post("/echo")
    async def echo() -> None:
        started.append(len(started))
        await let_go.wait()

    return api


async def settled() -> None:
    """Let everything go on that can."""
    for _ in range(50):
        await asyncio.sleep(0.002)


def test_as_many_run_as_may_the_next_ones_wait_and_the_rest_comes_back_later() -> None:
    keys = Keys(replace(FREE, concurrent=2, queue=3))

    async def scenario() -> None:
        started: list[int] = []
        let_go = asyncio.Event()
        app = guarded(keys, api=slow(started, let_go))
        scope = make_scope("/v1/echo", bearer(keys.secret), method="POST")
        calls = [asyncio.ensure_future(ask_async(app, dict(scope), (b"",))) for _ in range(5)]
        await settled()
        assert len(started) == 2
        refused = await ask_async(app, dict(scope))
        assert refused is not None
        assert (refused.status, refused.error["code"], refused.headers["retry-after"]) == (
            429, "rate_limit_exceeded", "5",
        )  # fmt: skip
        let_go.set()
        answers = await asyncio.gather(*calls)
        assert [answer.status for answer in answers if answer] == [200] * 5
        again = await ask_async(app, dict(scope))
        assert again is not None
        assert again.status == 200

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["leaves", "is cancelled"])
def test_whoever_goes_while_waiting_leaves_the_place_to_others(how: str) -> None:
    keys = Keys(replace(FREE, concurrent=1, queue=1))

    async def scenario() -> None:
        started: list[int] = []
        let_go, leave = asyncio.Event(), asyncio.Event()

        async def gone() -> None:
            await leave.wait()

        app = guarded(keys, api=slow(started, let_go))
        scope = make_scope("/v1/echo", bearer(keys.secret), method="POST")
        first = asyncio.ensure_future(ask_async(app, dict(scope)))
        await settled()
        waiting = asyncio.ensure_future(ask_async(app, dict(scope), gone=gone))
        await settled()
        if how == "leaves":
            leave.set()
            assert await waiting is None
        else:
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        another = asyncio.ensure_future(ask_async(app, dict(scope)))
        await settled()
        assert not another.done()
        assert len(started) == 1
        let_go.set()
        done = [await first, await another]
        assert [answer.status for answer in done if answer] == [200, 200]
        assert len(started) == 2

    asyncio.run(scenario())


def test_a_failing_application_gives_its_place_back() -> None:
    keys = Keys(replace(FREE, concurrent=1, queue=0))

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    app = guarded(keys, api=fail)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            call(app, bearer(keys.secret))


def test_looking_at_models_takes_no_place() -> None:
    keys = Keys(replace(FREE, concurrent=1, queue=0))

    async def scenario() -> None:
        started: list[int] = []
        let_go = asyncio.Event()
        api = slow(started, let_go)
        api.get("/models")(lambda: [])
        app = guarded(keys, api=api)
        running = asyncio.ensure_future(ask_async(app, make_scope("/v1/echo", bearer(keys.secret), method="POST")))
        await settled()
        answer = await ask_async(app, make_scope("/v1/models", bearer(keys.secret)))
        assert answer is not None
        assert answer.status == 200
        let_go.set()
        await running

    asyncio.run(scenario())
