"""The gate before the pages: nothing of the app without the password, or without a provider's word."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.doors.hashing import hashed
from app.doors.login import password as password_module
from app.doors.login.password import COOKIE, KEY_FILE, Password, signing_key
from tests.support.asgi import ask, ask_async, make_scope
from tests.support.clock import Clock
from tests.support.login import BROWSER, FORM, WORD, cookie_of, desk, gate, send


@pytest.fixture(scope="module")
def signed_in() -> tuple[str, str]:
    """A browser's cookie after the password."""
    return cookie_of(send(gate(desk()), {"password": WORD}))


@pytest.mark.parametrize(
    "path",
    ["/", "/history", "/_stcore/host-config", "/_stcore/stream", "/_stcore/upload_file/s/f", "/media/x.png",
     "/static/js/index.js", "/component/x/index.html", "/_stcore/metrics", "/v1", "/sign-out", "/auth/login"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
def test_nothing_of_the_app_is_reached(path: str, method: str) -> None:
    answer = ask(gate(desk()), make_scope(path, method=method))
    assert answer.status == 403
    assert b"the app" not in answer.body
    assert answer.headers["cache-control"] == "no-store, private"


@pytest.mark.parametrize("path", ["/_stcore/stream", "/v1/x", "/healthz", "/"])
def test_no_websocket_is_opened(path: str, signed_in: tuple[str, str]) -> None:
    for way in (desk(), "closed"):
        assert ask(gate(way), make_scope(path, kind="websocket")).status == 403
    assert ask(gate(desk()), make_scope(path, signed_in, kind="websocket")).status == 101


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/_stcore/health", "/metrics", "/v1/models"])
def test_health_and_what_has_a_check_of_its_own_pass(path: str) -> None:
    for way in (desk(), "closed"):
        assert ask(gate(way), make_scope(path)).status == 200


def test_at_this_machine_nobody_is_asked() -> None:
    here = gate("closed", only_this_machine=True)
    for kind, status in (("http", 200), ("websocket", 101)):
        assert ask(here, make_scope(kind=kind, client="127.0.0.1")).status == status
        assert ask(here, make_scope(kind=kind)).status == 403
        assert ask(gate("closed"), make_scope(kind=kind, client="127.0.0.1")).status == 403


def test_a_browser_gets_the_form_wherever_it_went() -> None:
    answer = ask(gate(desk()), make_scope("/history", BROWSER, ("Sec-Fetch-Dest", "document"), query="run=1"))
    assert 'name="password"' in answer.text
    assert "action=" not in answer.text
    assert "set-cookie" not in answer.headers
    for headers in ((("Accept", "application/json"),), (BROWSER, ("Sec-Fetch-Dest", "image"))):
        assert ask(gate(desk()), make_scope("/history", *headers)).text == "Sign in first.\n"


def test_where_nothing_was_set_up_it_says_so() -> None:
    app = gate("Set GEARBOX_PASSWORD <b>.")
    assert "<p>Set GEARBOX_PASSWORD &lt;b&gt;.</p>" in ask(app, make_scope("/", BROWSER)).text
    assert send(app, {"password": WORD}).status == 403


@pytest.mark.parametrize("word", [WORD, hashed(WORD)], ids=["plain", "hashed"])
def test_the_password_opens_the_page_that_was_asked_for_and_all_others(word: str) -> None:
    app = gate(desk(word=word))
    answer = send(app, {"password": WORD}, path="/history", query="run=1&x=%20")
    assert (answer.status, answer.headers["location"]) == (303, "/history?run=1&x=%20")
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= attributes
    assert "secure" not in attributes
    for path in ("/", "/history", "/_stcore/host-config", "/media/x"):
        assert ask(app, make_scope(path, cookie_of(answer))).text == "the app"
    assert "; secure" in send(app, {"password": WORD}, scheme="https").headers["set-cookie"].lower()


def test_a_hash_itself_opens_nothing() -> None:
    kept = hashed(WORD)
    assert send(gate(desk(word=kept)), {"password": kept}).status == 403


@pytest.mark.parametrize(
    "fields",
    [{"password": "wrong"}, {"password": ""}, {"password": WORD + " "}, {"password": WORD.upper()}, {"word": WORD},
     {"password": "x" * 10_000}, {"password": "\0"}, {"password": "ü"}, {}],
)  # fmt: skip
def test_another_password_opens_nothing(fields: dict[str, str]) -> None:
    answer = send(gate(desk()), fields)
    assert answer.status == 403
    assert "set-cookie" not in answer.headers


def test_a_wrong_password_is_told_and_never_repeated() -> None:
    answer = send(gate(desk()), {"password": "<script>nearly right"})
    assert "This is not the password." in answer.text
    assert "nearly" not in answer.text


def test_a_form_without_an_end_is_not_read_to_it() -> None:
    def parts() -> Any:
        for _ in range(20):
            yield b"x" * 1_000
        raise AssertionError("It was read on.")

    assert ask(gate(desk()), make_scope("/", FORM, method="POST"), parts()).status == 403


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///evil.example/x", "//\\/evil.example"])
def test_signing_in_leads_to_no_other_server(path: str) -> None:
    location = send(gate(desk()), {"password": WORD}, path=path).headers["location"]
    assert re.match(r"/[^/\\]", location)


@given(st.text(max_size=12))
def test_signing_in_leads_to_a_path_of_this_server_whatever_was_asked_for(path: str) -> None:
    from app.doors.login.gate import _path

    location = _path(make_scope(f"/{path.encode('ascii', 'replace').decode()}") | {"path": f"/{path}"})
    assert re.fullmatch(r"/(?![/\\])[!-~]*", location)


def test_guessing_is_slowed_down_by_network_and_those_who_are_in_do_not_notice(signed_in: tuple[str, str]) -> None:
    clock = Clock()
    app = gate(desk(clock))
    assert [send(app, {"password": str(n)}).status for n in range(7)] == [403] * 5 + [429] * 2
    refused = send(app, {"password": WORD})
    assert (refused.status, refused.headers["retry-after"]) == (429, "20")
    assert "Wait 20 s" in refused.text
    assert send(app, {"password": WORD}, client="192.0.2.8").status == 303
    assert ask(app, make_scope("/", signed_in)).status == 200
    clock.now += 20
    assert send(app, {"password": WORD}).status == 303
    assert send(app, {"password": WORD}).status == 303  # the right one costs no try


def test_many_guesses_at_once_are_no_more_than_one_after_the_other() -> None:
    app = gate(desk())

    async def guess(number: int) -> int:
        body = urlencode({"password": str(number)}).encode()
        answer = await ask_async(app, make_scope("/", FORM, method="POST"), (body,))
        assert answer is not None
        return answer.status

    async def scenario() -> list[int]:
        return list(await asyncio.gather(*(guess(number) for number in range(20))))

    statuses = asyncio.run(scenario())
    assert statuses.count(403) == 5
    assert statuses.count(429) == 15


def test_a_cookie_lasts_a_month_and_over_a_restart_and_another_password_ends_it(tmp_path: Path) -> None:
    moment = Clock()
    before = Password(WORD, signing_key(tmp_path), moment=moment)
    cookie = cookie_of(send(gate(before), {"password": WORD}))
    restarted = gate(Password(WORD, signing_key(tmp_path), moment=moment))
    assert ask(restarted, make_scope("/", cookie)).status == 200
    assert (
        ask(gate(Password("another word", signing_key(tmp_path), moment=moment)), make_scope("/", cookie)).status == 403
    )
    moment.now += 30 * 86_400 - 1
    assert ask(restarted, make_scope("/", cookie)).status == 200
    moment.now += 2
    assert ask(restarted, make_scope("/", cookie)).status == 403


def test_the_signing_key_is_one_s_own_and_random(tmp_path: Path) -> None:
    key = signing_key(tmp_path / "data")
    file = tmp_path / "data" / KEY_FILE
    assert (len(key), file.read_bytes(), file.stat().st_mode & 0o777) == (32, key, 0o600)
    assert signing_key(tmp_path / "data") == key
    assert signing_key(tmp_path / "other") != key
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEY_FILE]
    file.write_bytes(b"")
    assert signing_key(tmp_path / "data") != signing_key(tmp_path / "data")


def test_without_a_place_for_the_key_logins_last_as_long_as_the_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert len(signing_key(tmp_path / "file")) == 32


@pytest.mark.parametrize("position", range(0, 100, 7))
def test_an_altered_cookie_is_none(signed_in: tuple[str, str], position: int) -> None:
    name, value = signed_in[1].split("=", 1)
    at = position % len(value)
    altered = value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
    assert ask(gate(desk()), make_scope("/", ("Cookie", f"{name}={value}"))).status == 200
    assert ask(gate(desk()), make_scope("/", ("Cookie", f"{name}={altered}"))).status == 403


@given(st.text(max_size=80))
def test_no_cookie_of_a_stranger_s_is_taken(text: str) -> None:
    assert not DESK.knows({COOKIE: text})


DESK = desk()


def test_a_cookie_that_somebody_made_last_longer_is_none(signed_in: tuple[str, str]) -> None:
    until, nonce, mac = signed_in[1].split("=", 1)[1].split(".")
    assert not DESK.knows({COOKIE: f"{int(until) + 1}.{nonce}.{mac}"})
    assert DESK.knows({COOKIE: f"{until}.{nonce}.{mac}"})


def test_signing_out_takes_the_cookie_and_asks_before(signed_in: tuple[str, str]) -> None:
    app = gate(desk())
    page = ask(app, make_scope("/sign-out", BROWSER, signed_in))
    assert 'name="leave"' in page.text
    answer = send(app, {"leave": "1"}, signed_in, path="/sign-out")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert "max-age=0" in answer.headers["set-cookie"].lower()


def test_the_form_once_more_leads_to_the_page(signed_in: tuple[str, str]) -> None:
    answer = send(gate(desk()), {"password": "whatever"}, signed_in, path="/history")
    assert (answer.status, answer.headers["location"]) == (303, "/history")


def test_no_password_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = gate(desk())
    send(app, {"password": "my other password"})
    send(app, {"password": WORD})
    assert "my other password" not in caplog.text
    assert WORD not in caplog.text


def test_the_right_and_a_wrong_password_are_compared_by_the_same_slow_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(password_module, "matches", lambda hash, secret: looked.append(hash) or secret == WORD)
    app = gate(desk())
    for word in (WORD, "wrong", "c", ""):
        send(app, {"password": word})
    assert len(looked) == 4
    assert len(set(looked)) == 1
