"""Who may come in: names, pages and the headers of every answer, with an app behind the doors that would let all in."""

from __future__ import annotations

import re
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from app.doors.hosts import AllowedHosts, Host
from app.doors.middleware import Doors
from app.settings import Settings, SettingsError

PORT = 8501


class Answer(NamedTuple):
    """What came back, and the request that got through; ``None`` if none did."""

    status: int
    headers: dict[str, str]
    text: str
    behind: Scope | None


def finish(call: Coroutine[Any, Any, None]) -> None:
    """Run what never waits, without an event loop."""
    with pytest.raises(StopIteration):
        call.send(None)


def ask(
    *headers: tuple[str, str],
    allowed: str = "",
    method: str = "GET",
    path: str = "/",
    kind: str = "http",
) -> Answer:
    """Send one request through the doors."""
    behind: list[Scope] = []
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        behind.append(scope)
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.accept"})

    async def receive() -> Message:
        return {"type": "http.request" if kind == "http" else "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": path,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "extensions": {"websocket.http.response": {}},
    }
    finish(Doors(app, AllowedHosts.parse(allowed))(scope, receive, send))
    first = sent[0]
    body = b"".join(message.get("body", b"") for message in sent)
    return Answer(
        101 if first["type"] == "websocket.accept" else first["status"],
        {name.decode(): value.decode() for name, value in first.get("headers", [])},
        body.decode(),
        behind[0] if behind else None,
    )


NAMES_OF_THIS_MACHINE = [
    "localhost",
    "localhost:8501",
    "LocalHost:1",
    "localhost.:8501",
    "app.localhost:8501",
    "127.0.0.1",
    "127.0.0.1:8501",
    "127.8.9.10:8501",
    "[::1]",
    "[::1]:8501",
    "[0:0:0:0:0:0:0:1]:8501",
]

STRANGE_NAMES = [
    "evil.example",
    "evil.example:8501",
    "localhost.evil.example",
    "evil-localhost",
    "notlocalhost:8501",
    "127.0.0.1.evil.example",
    "0.0.0.0:8501",
    "192.168.1.5:8501",
    "[::]:8501",
    "[fe80::1]:8501",
    "[::ffff:192.168.1.5]",
    "localhost@evil.example",
    "evil.example@localhost",
    "user:password@localhost:8501",
    "localhost:8501@evil.example",
    "localhost/evil.example",
    "localhost#evil.example",
    "localhost?x",
    "localhost:",
    "localhost:x",
    "localhost:85011111",
    "localhost..",
    ".localhost",
    "..localhost",
    "localhost evil.example",
    "localhost,evil.example",
    "localhost\tevil",
    "[::1",
    "::1",
    "[::1]evil",
    "[::1%lo]",
    "[localhost]",
    "lоcalhost".encode().decode("latin-1"),  # a Cyrillic o
    "",
    "*",
    "null",
    "http://localhost",
]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("name", NAMES_OF_THIS_MACHINE)
def test_the_names_of_this_machine_are_let_in(name: str, kind: str) -> None:
    assert ask(("Host", name), kind=kind).behind is not None


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_every_other_name_is_refused_with_403(name: str, kind: str) -> None:
    answer = ask(("Host", name), kind=kind)
    assert (answer.status, answer.behind) == (403, None)
    assert "GEARBOX_ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/_stcore/health", "/_stcore/host-config", "/static/js/index.js", "/media/x", "/ops"]
)
def test_a_strange_name_is_refused_for_every_path_and_method(path: str, method: str) -> None:
    assert ask(("Host", "evil.example"), path=path, method=method).status == 403


def test_a_request_without_a_host_or_with_two_is_refused() -> None:
    assert ask().status == 403
    assert ask(("Host", "localhost"), ("Host", "evil.example")).status == 403
    assert ask(("Host", "localhost"), ("Host", "localhost")).status == 403


@pytest.mark.parametrize("path", ["http://evil.example/", "http://localhost:8501/", "evil.example:443", "*"])
def test_a_request_as_to_a_proxy_is_refused(path: str) -> None:
    assert ask(("Host", "localhost"), path=path).status == 403


def test_a_refusal_tells_what_to_set() -> None:
    text = ask(("Host", "Gearbox.Lan:8501")).text
    assert "does not answer to the name “gearbox.lan”" in text
    assert "GEARBOX_ALLOWED_HOSTS=gearbox.lan" in text
    assert ask(("Host", "gearbox.lan:8501"), allowed="gearbox.lan").status == 200


def test_a_refusal_repeats_nothing_but_a_name() -> None:
    answer = ask(("Host", "<script>alert(1)</script>"))
    assert "<" not in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("allowed", "name", "status"),
    [
        ("gearbox.lan", "gearbox.lan:8501", 200),
        ("gearbox.lan", "GEARBOX.LAN.", 200),
        ("Gearbox.Lan.", "gearbox.lan", 200),
        ("gearbox.lan", "localhost", 200),
        ("gearbox.lan", "www.gearbox.lan", 403),
        ("gearbox.lan", "evilgearbox.lan", 403),
        (" a.example , 192.168.1.5,", "192.168.1.5:80", 200),
        ("*.example.com", "lab.example.com", 200),
        ("*.example.com", "a.b.example.com", 200),
        ("*.example.com", "example.com", 403),
        ("*.example.com", "evilexample.com", 403),
        ("fe80::1", "[fe80:0::1]:8501", 200),
        ("[fe80::1]", "[fe80::1]", 200),
        ("", "gearbox.lan", 403),
    ],
)
def test_names_are_added_by_the_setting(allowed: str, name: str, status: int) -> None:
    assert ask(("Host", name), allowed=allowed).status == status


@pytest.mark.parametrize(
    "value",
    ["*", "http://gearbox.lan", "gearbox.lan:8501", "gearbox.lan/x", "two words", "a..b", "x,*", "*.", "*.*.com",
     "a*.com", "[::1]:80", "1:2", "user@host", "ß.example", "."],
)  # fmt: skip
def test_a_setting_that_lists_no_names_is_refused_in_words(value: str) -> None:
    with pytest.raises(SettingsError, match=r"GEARBOX_ALLOWED_HOSTS must list the names") as caught:
        Settings.from_env({"GEARBOX_ALLOWED_HOSTS": value})
    assert "gearbox.lan,192.168.1.5" in str(caught.value)


def test_the_setting_may_be_empty() -> None:
    assert Settings.from_env({"GEARBOX_ALLOWED_HOSTS": " , "}).allowed_hosts.added == ()


SAME_PAGES = [
    ("http://localhost:8501", "localhost:8501"),
    ("http://LOCALHOST:8501", "localhost:8501"),
    ("https://localhost", "localhost"),
    ("http://[::1]:8501", "[::1]:8501"),
    ("http://app.localhost:8501", "app.localhost:8501"),
]

STRANGE_PAGES = [
    "null",
    "",
    "http://evil.example",
    "http://evil.example:8501",
    "https://localhost.evil.example:8501",
    "http://localhost:3000",  # another server on this machine
    "http://localhost",
    "http://127.0.0.1:8501",
    "http://user@localhost:8501",
    "http://evil.example#http://localhost:8501",
    "http://localhost:8501/",
    "http://localhost:8501 http://evil.example",
    "file://",
    "file://localhost:8501",
    "chrome-extension://localhost:8501",
    "localhost:8501",
]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(("origin", "name"), SAME_PAGES)
def test_a_page_that_came_from_here_is_let_in(origin: str, name: str, method: str, kind: str) -> None:
    assert ask(("Host", name), ("Origin", origin), method=method, kind=kind).behind is not None


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", STRANGE_PAGES)
def test_a_page_that_came_from_elsewhere_is_refused(origin: str, method: str, kind: str) -> None:
    answer = ask(("Host", "localhost:8501"), ("Origin", origin), method=method, kind=kind)
    assert (answer.status, answer.behind) == (403, None)


def test_two_origins_are_refused() -> None:
    page = ("Origin", "http://localhost:8501")
    assert ask(("Host", "localhost:8501"), page, page, method="PUT").status == 403


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_program_that_names_no_page_is_let_in(kind: str) -> None:
    assert ask(("Host", "localhost:8501"), method="PUT", kind=kind).behind is not None


def test_a_page_of_an_added_name_is_let_in_through_a_proxy_that_calls_the_server_otherwise() -> None:
    headers = ("Host", "127.0.0.1:8501"), ("Origin", "https://gearbox.example")
    refused = ask(*headers, kind="websocket")
    assert refused.status == 403
    assert "GEARBOX_ALLOWED_HOSTS=gearbox.example" in refused.text
    assert ask(*headers, kind="websocket", allowed="gearbox.example").status == 101


@pytest.mark.parametrize(
    ("origin", "name", "seen"),
    [
        ("https://gearbox.example", "127.0.0.1:8501", b"gearbox.example"),
        ("http://localhost:8501", "LOCALHOST.:8501", b"localhost:8501"),
    ],
)
def test_what_is_behind_the_doors_has_nothing_left_to_compare(origin: str, name: str, seen: bytes) -> None:
    """Streamlit looks up this machine's address on the internet where Host and Origin differ by a letter."""
    answer = ask(("Host", name), ("Origin", origin), kind="websocket", allowed="gearbox.example")
    assert answer.behind is not None
    assert [value for key, value in answer.behind["headers"] if key == b"host"] == [seen]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("name", ["localhost:8501", "evil.example", "", "[::1]:8501"])
def test_every_answer_says_what_a_page_may_do(name: str, kind: str) -> None:
    answer = ask(("Host", name), kind=kind)
    if answer.status == 101:
        return
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["frame-ancestors"] == policy["frame-src"] == policy["object-src"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert "unsafe" not in policy["script-src"]
    for sources in policy.values():
        for source in sources.split(" "):
            assert re.fullmatch(r"'[^']+'|data:|blob:|wss?://(localhost|\[::1\]):8501", source), source


def test_the_server_s_start_and_end_pass_through() -> None:
    started = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.append(scope["type"])

    finish(Doors(app, AllowedHosts())({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert started == ["lifespan"]


def test_a_refusal_is_said_once_on_the_console_and_never_without_end(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None: ...

    async def ignore(message: Message) -> None: ...

    doors = Doors(app, AllowedHosts())

    def knock(names: Sequence[str]) -> None:
        for name in names:
            scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", name.encode())]}
            finish(doors(scope, None, ignore))  # type: ignore[arg-type]

    knock(["evil.example"] * 3)
    assert len(caplog.records) == 1
    knock([f"{number}.example" for number in range(300)])
    assert len(caplog.records) <= 100


@given(st.text(alphabet=st.sampled_from("localhst127.:[]@/#?%\\ \tev1x0"), max_size=16))
def test_no_spelling_of_a_name_is_two_names(text: str) -> None:
    """A header that is taken is one that a URL with it would lead to."""
    host = Host.parse(text)
    if host is not None:
        assert Host.parse(str(host)) == host
        assert re.fullmatch(r"[a-z0-9._:-]+", host.name)
        assert text.lower().startswith((host.name, "["))
