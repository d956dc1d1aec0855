"""The check before the API, with a small application behind it: who comes in, and what the others are told."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from app.api.errors import error_response
from app.doors.hosts import AllowedHosts
from app.doors.keys import new_secret
from app.doors.middleware import Doors
from tests.support.asgi import ask, make_scope
from tests.support.guarded import FREE, Keys, bearer, call, guarded


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
