"""The check before the API, with a small application behind it: who comes in, and what the others are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from app.api.errors import error_response
from app.doors.access import Access
from app.doors.entrances import Nearness
from app.doors.hosts import AllowedHosts
from app.doors.keys import Key, KeyLimits, new_secret
from app.doors.middleware import Doors
from app.store import StoreError
from tests.app.doors.test_buckets import Clock
from tests.support.asgi import Answer, ask, ask_async, make_scope

FREE = KeyLimits(requests_per_minute=None, tokens_per_minute=None, concurrent=None, queue=None)


class Keys:
    """Keys in memory; counts what is looked up slowly."""

    def __init__(self, limits: KeyLimits = FREE) -> None:
        self.prefix, self.secret = new_secret()
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        self.key = Key(
            id="k", name="mine", prefix=self.prefix, created_at=moment, created_by=None, last_used_at=None,
            revoked_at=None, limits=limits,
        )  # fmt: skip
        self.slow_looks = 0
        self.broken = False

    def known(self, secret: str) -> Key | None:
        if self.broken:
            raise StoreError("The run database /secret/path is locked.")
        return self.key if secret == self.secret and self.slow_looks else None

    def check(self, secret: str) -> Key | None:
        self.slow_looks += 1
        return self.key if secret == self.secret else None


def behind() -> FastAPI:
    """Routes as an API has them."""
    api = FastAPI()

    @api.api_route("/echo", methods=["GET", "POST", "PUT"])
    async def echo(request: Request) -> dict[str, Any]:
        key: Key | None = request.state.key
        body = await request.body()
        request.state.spend(len(body))
        return {"key": key.name if key else None, "bytes": len(body)}

    return api


def guarded(
    keys: Keys,
    *,
    only_this_machine: bool = False,
    is_on: bool = True,
    max_body: int = 1_000,
    api: ASGIApp | None = None,
    clock: Callable[[], float] | None = None,
) -> ASGIApp:
    """The API as the server mounts it, behind its check."""
    access = Middleware(
        Access,
        keys=lambda: keys,
        keys_fail=StoreError,
        nearness=Nearness(only_this_machine),
        is_on=is_on,
        max_body=max_body,
        refusal=error_response,
        clock=clock or Clock(),
    )

    async def metrics(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"gearbox_up 1"})

    return Starlette(routes=[Mount("/v1", api or behind()), Mount("/", metrics)], middleware=[access])


def call(
    app: ASGIApp,
    *headers: tuple[str, str | bytes],
    path: str = "/v1/echo",
    method: str = "POST",
    client: str = "192.0.2.7",
    body: bytes = b"{}",
) -> Answer:
    return ask(app, make_scope(path, *headers, method=method, client=client), (body,))


def bearer(secret: str | bytes) -> tuple[str, str | bytes]:
    return "Authorization", b"Bearer " + secret if isinstance(secret, bytes) else f"Bearer {secret}"


@pytest.fixture
def keys() -> Keys:
    return Keys()


# --- who comes in -------------------------------------------------------------------------------------


def test_on_this_machine_no_key_is_needed(keys: Keys) -> None:
    answer = call(guarded(keys, only_this_machine=True, is_on=False), client="127.0.0.1")
    assert (answer.status, answer.text) == (200, '{"key":null,"bytes":2}')


@pytest.mark.parametrize("given", ["Bearer none", "Bearer sk-1234", "Basic dTpw", "Bearer", ""])
def test_on_this_machine_what_clients_send_instead_of_a_key_does_not_matter(keys: Keys, given: str) -> None:
    app = guarded(keys, only_this_machine=True)
    assert call(app, ("Authorization", given), client="127.0.0.1").status == 200
    assert keys.slow_looks == 0


def test_on_this_machine_a_key_is_still_told_apart(keys: Keys) -> None:
    app = guarded(keys, only_this_machine=True)
    assert '"key":"mine"' in call(app, bearer(keys.secret), client="127.0.0.1").text
    assert call(app, bearer(new_secret()[1]), client="127.0.0.1").status == 401


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7", "127.0.0.1"])
def test_beyond_this_machine_the_api_is_off_until_it_is_switched_on(keys: Keys, client: str) -> None:
    answer = call(guarded(keys, is_on=False), bearer(keys.secret), client=client)
    assert (answer.status, answer.error["code"]) == (403, "api_off")
    assert "gearbox run --api" in answer.error["message"]
    assert keys.slow_looks == 0
    assert call(guarded(keys), bearer(keys.secret), client=client).status == 200


def test_a_stranger_is_no_local_though_the_server_is_for_this_machine(keys: Keys) -> None:
    assert call(guarded(keys, only_this_machine=True)).status == 401
    through_a_proxy = call(guarded(keys, only_this_machine=True), ("X-Forwarded-For", "1.2.3.4"), client="127.0.0.1")
    assert through_a_proxy.status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_right_key_comes_in_and_its_bearer_is_known(keys: Keys, scheme: str) -> None:
    answer = call(guarded(keys), ("Authorization", f"{scheme} {keys.secret}"))
    assert (answer.status, answer.text) == (200, '{"key":"mine","bytes":2}')


def test_without_a_key_the_answer_says_how_to_send_one(keys: Keys) -> None:
    answer = call(guarded(keys))
    assert (answer.status, answer.error["code"], answer.error["type"]) == (
        401, "invalid_api_key", "invalid_request_error",
    )  # fmt: skip
    assert answer.headers["www-authenticate"] == 'Bearer realm="Gearbox"'
    assert "Authorization: Bearer" in answer.error["message"]


WRONG = [
    b"gbx_01234567_" + b"x" * 43,
    b"gbx_01234567_" + b"x" * 42,
    b"sk-1234",
    b"",
    b" ",
    b"x" * 60_000,
    b"gbx_01234567_" + b"x" * 60_000,
    "gbx_01234567_é".encode(),
    b"\xff\xfe\x00",
    b"gbx_01234567_" + b"x" * 43 + b" more",
    b"gbx_01234567_" + b"x" * 43 + b", Bearer y",
    b"' OR 1=1 --",
]


@pytest.mark.parametrize("secret", WRONG)
def test_a_wrong_key_is_refused_whatever_it_is(keys: Keys, secret: bytes) -> None:
    answer = call(guarded(keys), bearer(secret))
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"].endswith('error="invalid_token"')
    assert secret.strip() == b"" or secret not in answer.body


@pytest.mark.parametrize("scheme", ["Basic", "Token", "Bearer:", ""])
def test_another_scheme_is_no_key(keys: Keys, scheme: str) -> None:
    assert call(guarded(keys), ("Authorization", f"{scheme} {keys.secret}")).status == 401


def test_two_authorizations_are_refused_even_if_one_is_right(keys: Keys) -> None:
    for local in (True, False):
        answer = call(guarded(keys, only_this_machine=local), bearer(keys.secret), bearer("x"), client="127.0.0.1")
        assert answer.status == 400
        assert "one Authorization header" in answer.error["message"]


def test_a_key_elsewhere_than_in_its_header_is_none(keys: Keys) -> None:
    scope = make_scope("/v1/echo", ("X-Api-Key", keys.secret), method="POST", query=f"api_key={keys.secret}")
    assert ask(guarded(keys), scope).status == 401


def test_keys_that_cannot_be_looked_up_are_told_without_a_word_of_the_database(keys: Keys) -> None:
    keys.broken = True
    answer = call(guarded(keys), bearer(keys.secret))
    assert (answer.status, answer.error["type"]) == (503, "server_error")
    assert "secret" not in answer.text
    assert answer.headers["retry-after"] == "5"


def test_whoever_is_wrong_too_often_waits_and_others_and_known_keys_do_not(keys: Keys) -> None:
    app = guarded(keys)
    assert call(app, bearer(keys.secret)).status == 200
    statuses = [call(app, bearer(new_secret()[1])).status for _ in range(31)]
    assert statuses == [401] * 30 + [429]
    looked = keys.slow_looks
    refused = call(app, bearer(new_secret()[1]))
    assert (refused.status, refused.headers["retry-after"], refused.error["code"]) == (429, "2", "rate_limit_exceeded")
    assert keys.slow_looks == looked
    assert call(app, bearer(keys.secret)).status == 200
    assert call(app, bearer(new_secret()[1]), client="192.0.2.8").status == 401


# --- pages of other sites -----------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_of_another_site_is_refused_here_too(keys: Keys, site: str, method: str) -> None:
    app = guarded(keys, only_this_machine=True)
    answer = call(app, ("Sec-Fetch-Site", site), method=method, client="127.0.0.1")
    assert (answer.status, answer.error["code"]) == (403, "cross_site")
    for fine in ("same-origin", "none"):
        assert call(app, ("Sec-Fetch-Site", fine), method=method, client="127.0.0.1").status == 200


def test_the_doors_refuse_another_page_or_name_in_the_api_s_shape(keys: Keys) -> None:
    app = Doors(guarded(keys, only_this_machine=True), AllowedHosts(), error_response)
    host = ("Host", "localhost:8501")
    assert call(app, host, client="127.0.0.1").status == 200
    for headers in ((host, ("Origin", "http://evil.example")), (host, ("Origin", "null")), (("Host", "evil.example"),)):
        answer = call(app, *headers, client="127.0.0.1")
        assert (answer.status, answer.error["type"]) == (403, "permission_error")
    elsewhere = call(app, ("Host", "evil.example"), path="/ops", client="127.0.0.1")
    assert elsewhere.headers["content-type"].startswith("text/plain")


# --- sizes --------------------------------------------------------------------------------------------


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


# --- limits -------------------------------------------------------------------------------------------


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


# --- beside the API -----------------------------------------------------------------------------------


def test_metrics_are_open_here_and_ask_others_for_a_key_though_the_api_is_off() -> None:
    keys = Keys(replace(FREE, requests_per_minute=1))
    app = guarded(keys, is_on=False)
    assert call(app, path="/metrics", method="GET").status == 401
    for _ in range(3):  # scraping counts against nobody
        assert call(app, bearer(keys.secret), path="/metrics", method="GET").text == "gearbox_up 1"
    local = guarded(keys, only_this_machine=True)
    assert call(local, path="/metrics", method="GET", client="127.0.0.1").status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/history"])
def test_what_is_not_the_api_s_passes(keys: Keys, path: str) -> None:
    assert call(guarded(keys, is_on=False), path=path, method="GET").status == 200


def test_no_key_is_logged_whatever_becomes_of_it(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = Doors(guarded(keys), AllowedHosts(), error_response)
    strange = new_secret()[1]
    host = ("Host", "localhost")
    for headers in (
        (host, bearer(keys.secret)), (host, bearer(strange)), (host, bearer(keys.secret), bearer(strange)),
        (("Host", "evil.example"), bearer(keys.secret)), (host, bearer(keys.secret + "x")),
    ):  # fmt: skip
        call(app, *headers)
    keys.broken = True
    call(app, host, bearer(keys.secret))
    assert "could not be looked up" in caplog.text
    for secret in (keys.secret, strange):
        assert secret[13:] not in caplog.text
