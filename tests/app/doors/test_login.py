"""The gate before the pages: nothing of the app without the password, or without a provider's word."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.errors import StreamlitAuthError
from streamlit.runtime.secrets import AttrDict
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from app.doors.entrances import Nearness
from app.doors.hashing import hashed
from app.doors.login import password as password_module
from app.doors.login import provider as provider_module
from app.doors.login.gate import Gate
from app.doors.login.password import COOKIE, KEY_FILE, Password, signing_key
from app.doors.login.provider import Provider, ProviderError
from app.doors.login.way import Way
from tests.app.doors.test_buckets import Clock
from tests.support.asgi import Answer, ask, ask_async, make_scope

WORD = "correct horse battery"
KEY = b"k" * 32
FORM = ("Content-Type", "application/x-www-form-urlencoded")
BROWSER = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that would let everybody in."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the app"})


def gate(way: Way | str, *, only_this_machine: bool = False) -> Gate:
    return Gate(behind, way=way, nearness=Nearness(only_this_machine))


def desk(clock: Clock | None = None, moment: Clock | None = None, word: str = WORD) -> Password:
    return Password(word, KEY, clock or Clock(), moment or Clock())


def send(app: ASGIApp, fields: Mapping[str, str], *headers: tuple[str, str], **request: Any) -> Answer:
    """Send the form."""
    body = urlencode(fields).encode()
    return ask(app, make_scope(request.pop("path", "/"), FORM, *headers, method="POST", **request), (body,))


def cookie_of(answer: Answer) -> tuple[str, str]:
    """The header with which a browser comes back."""
    return "Cookie", answer.headers["set-cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def signed_in() -> tuple[str, str]:
    """A browser's cookie after the password."""
    return cookie_of(send(gate(desk()), {"password": WORD}))


# --- without the password -----------------------------------------------------------------------------


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


# --- with it ------------------------------------------------------------------------------------------


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


# --- the cookie ---------------------------------------------------------------------------------------


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


# --- a provider ---------------------------------------------------------------------------------------

SECRET = "a secret of thirty-two characters"
AUTH = {
    "redirect_uri": "https://gearbox.example/oauth2callback",
    "cookie_secret": SECRET,
    "client_id": "id",
    "client_secret": "s",
    "server_metadata_url": "https://id.example/.well-known/openid-configuration",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What stands in the secrets' ``[auth]``, with Authlib there to use it."""
    auth: dict[str, Any] = dict(AUTH)
    monkeypatch.setattr(provider_module, "get_secrets_auth_section", lambda: AttrDict(auth))
    monkeypatch.setattr(provider_module, "is_authlib_installed", lambda: True)
    monkeypatch.setattr(provider_module, "validate_auth_credentials", lambda name: None)
    monkeypatch.setattr(provider_module, "get_cookie_secret", lambda: SECRET)
    monkeypatch.setattr(provider_module, "encode_provider_token", lambda name: f"token-of-{name}")
    return auth


def user_cookie(secret: str = SECRET, **user: Any) -> tuple[str, str]:
    """The cookie as Streamlit sets it after a provider's answer."""
    said = {"is_logged_in": True, "origin": "https://gearbox.example", "email": "anna@example.com"} | user
    value = create_signed_value(secret, "_streamlit_user", json.dumps(said)).decode()
    return "Cookie", f"_streamlit_user={value}"


def test_a_link_leads_to_the_provider_and_its_way_back_is_open(secrets: dict[str, Any]) -> None:
    """A form could not: the content policy lets none lead to another site, over no redirection either."""
    app = gate(Provider(()))
    page = ask(app, make_scope("/", BROWSER)).text
    assert 'href="/auth/login?provider=token-of-default">Sign in</a>' in page
    assert "<form" not in page
    assert send(app, {"provider": "default", "password": WORD}).status == 403
    for path in ("/auth/login", "/oauth2callback", "/auth/logout"):
        assert ask(app, make_scope(path)).status == 200
        assert ask(app, make_scope(path, kind="websocket")).status == 403
    assert ask(app, make_scope("/auth/login/x")).status == 403


def test_each_provider_has_a_button_and_the_app_s_own_path_is_kept(secrets: dict[str, Any]) -> None:
    secrets.pop("client_id")
    secrets |= {"google": {"client_id": "g"}, "okta": {"client_id": "o"}}
    way = Provider((), "lab")
    page = ask(gate(way), make_scope("/lab/", BROWSER)).text
    assert 'href="/lab/auth/login?provider=token-of-google">Sign in with Google</a>' in page
    assert 'href="/lab/auth/login?provider=token-of-okta">Sign in with Okta</a>' in page
    assert ask(gate(way), make_scope("/lab/oauth2callback")).status == 200
    assert ask(gate(way), make_scope("/oauth2callback")).status == 403


def test_whoever_the_provider_names_comes_in(secrets: dict[str, Any]) -> None:
    app = gate(Provider(()))
    assert ask(app, make_scope("/", user_cookie())).status == 200
    assert ask(app, make_scope("/_stcore/stream", user_cookie(), kind="websocket")).status == 101
    for strange in (
        user_cookie(is_logged_in=False), user_cookie(is_logged_in="yes"), user_cookie("another secret"),
        ("Cookie", "_streamlit_user=x"), ("Cookie", "_streamlit_user=" + "x" * 10_000),
        ("Cookie", "_streamlit_user_tokens" + user_cookie()[1].removeprefix("_streamlit_user")),
    ):  # fmt: skip
        assert ask(app, make_scope("/", strange)).status == 403


@pytest.mark.parametrize(
    ("user", "status"),
    [
        ({"email": "anna@example.com"}, 200),
        ({"email": "ANNA@Example.com"}, 200),
        ({"email": "bob@example.org"}, 200),
        ({"email": "anna@example.com", "email_verified": True}, 200),
        ({"email": "anna@example.com", "email_verified": False}, 403),
        ({"email": "bob@example.com"}, 403),
        ({"email": "bob@sub.example.org"}, 403),
        ({"email": "bob@evilexample.org"}, 403),
        ({"email": "bob@evil.com@example.org"}, 403),
        ({"email": None}, 403),
        ({"email": ["anna@example.com"]}, 403),
    ],
)
def test_only_those_on_the_list_come_in(secrets: dict[str, Any], user: dict[str, Any], status: int) -> None:
    app = gate(Provider(("anna@example.com", "*@example.org")))
    assert ask(app, make_scope("/", user_cookie(**user))).status == status


def test_somebody_who_may_not_come_in_reads_so_and_can_sign_out(secrets: dict[str, Any]) -> None:
    app = gate(Provider(("anna@example.com",)))
    page = ask(app, make_scope("/", BROWSER, user_cookie(email="<b>@example.com")))
    assert "You are signed in as &lt;b&gt;@example.com, who may not use this server." in page.text
    assert 'href="/auth/logout">Sign out</a>' in page.text


def test_secrets_that_cannot_be_used_are_told_at_the_start(
    secrets: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Provider.is_configured()
    monkeypatch.setattr(provider_module, "is_authlib_installed", lambda: False)
    with pytest.raises(ProviderError, match="pip install Authlib"):
        Provider(())
    monkeypatch.setattr(provider_module, "is_authlib_installed", lambda: True)
    secrets.pop("client_id")
    with pytest.raises(ProviderError, match="names no provider"):
        Provider(())
    secrets["client_id"] = "id"

    def lacks(name: str) -> None:
        raise StreamlitAuthError("missing the\n   cookie_secret")

    monkeypatch.setattr(provider_module, "validate_auth_credentials", lacks)
    with pytest.raises(ProviderError, match="missing the cookie_secret"):
        Provider(())
    secrets.clear()
    assert not Provider.is_configured()
