"""Who a browser is: the cookie that a page sets, and the person it stands for."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from app.doors.identity import COOKIE, Identities, person_of
from tests.app.test_doors import finish

PAGE, SCRIPT = "text/html; charset=utf-8", "text/javascript"


def ask(
    *headers: tuple[str, str],
    kind: str = PAGE,
    method: str = "GET",
    scheme: str = "http",
    status: int = 200,
    seen: list[Scope] | None = None,
) -> dict[str, list[str]]:
    """The headers of the answer to one request, by name."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seen is not None:
            seen.append(scope)
        answer = [(b"content-type", kind.encode()), (b"cache-control", b"no-cache")]
        await send({"type": "http.response.start", "status": status, "headers": answer})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "scheme": scheme,
        "method": method,
        "path": "/",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    finish(Identities(app)(scope, receive, send))
    found: dict[str, list[str]] = {}
    for name, value in sent[0]["headers"]:
        found.setdefault(name.decode(), []).append(value.decode())
    return found


def identity_in(headers: dict[str, list[str]]) -> str:
    (cookie,) = headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == COOKIE
    return rest.partition(";")[0]


def test_a_first_page_gives_an_identity_that_scripts_and_other_sites_do_not_get() -> None:
    headers = ask()
    attributes = {part.strip() for part in headers["set-cookie"][0].split(";")[1:]}
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= attributes
    assert "Secure" not in attributes
    assert not any(part.startswith("Domain") for part in attributes)
    assert person_of(identity_in(headers))
    # 6 bits a character
    assert len(identity_in(headers)) * 6 >= 256


def test_over_https_the_identity_never_travels_in_the_clear() -> None:
    assert ask(scheme="https")["set-cookie"][0].endswith("; Secure")
    # what a client says of itself is not believed here: the server has set the scheme from proxies it trusts
    assert "Secure" not in ask(("X-Forwarded-Proto", "https"))["set-cookie"][0]


def test_two_browsers_are_never_given_the_same_identity_and_no_cache_keeps_one() -> None:
    answers = [ask() for _ in range(200)]
    assert len({identity_in(answer) for answer in answers}) == 200
    assert {tuple(answer["cache-control"]) for answer in answers} == {("no-store, private",)}


def test_a_browser_keeps_its_identity_and_has_it_for_longer_with_every_page() -> None:
    identity = identity_in(ask())
    again = ask(("Cookie", f"other=1; {COOKIE}={identity}; another=2"))
    assert identity_in(again) == identity
    assert "Max-Age=34560000" in again["set-cookie"][0]
    assert again["cache-control"] == ["no-store, private"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "a" * 42,
        "a" * 44,
        "a" * 10_000,
        "a" * 42 + "=",
        "a" * 42 + " ",
        '"' + "a" * 43 + '"',
        "é" * 43,
        "a\n" * 20,
    ],
)
def test_an_identity_that_this_server_did_not_give_is_replaced(value: str) -> None:
    assert person_of(value) is None
    given = identity_in(ask(("Cookie", f"{COOKIE}={value}")))
    assert given != value
    assert person_of(given)


@given(st.text(max_size=60))
def test_whatever_stands_in_the_cookie_the_answer_has_a_sound_one(value: str) -> None:
    sent = value.encode("utf-8", "replace").decode("latin-1")
    headers = ask(("Cookie", f"{COOKIE}={sent}"))
    assert person_of(identity_in(headers))
    assert all(character.isprintable() for character in headers["set-cookie"][0])


def test_only_a_page_gives_an_identity_and_what_it_loads_never_does() -> None:
    for headers, kind, method in (
        ([], SCRIPT, "GET"),
        ([], PAGE, "POST"),
        ([("Sec-Fetch-Dest", "image")], PAGE, "GET"),  # such as a picture in another server's page
        ([("Sec-Fetch-Dest", "iframe")], PAGE, "GET"),
        ([("Sec-Fetch-Dest", "empty")], PAGE, "GET"),
    ):
        answer = ask(*headers, kind=kind, method=method)
        assert "set-cookie" not in answer
        assert answer["cache-control"] == ["no-cache"]
    assert "set-cookie" in ask(("Sec-Fetch-Dest", "document"))


def test_a_browser_that_kept_the_page_but_not_the_cookie_is_sent_the_page() -> None:
    conditions = (("If-None-Match", '"x"'), ("If-Modified-Since", "Sat, 28 Nov 2026 05:50:07 GMT"))
    seen: list[Scope] = []
    identity = identity_in(ask(*conditions, seen=seen))
    ask(*conditions, ("Cookie", f"{COOKIE}={identity}"), seen=seen)
    first, second = ({name for name, _ in scope["headers"]} for scope in seen)
    assert first == set()
    assert {b"if-none-match", b"if-modified-since"} <= second


def test_a_person_is_told_by_the_identity_and_does_not_tell_it() -> None:
    one, other = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    assert person_of(one) == person_of(one) != person_of(other)
    person = person_of(one)
    assert person
    assert (len(person), one in person, int(person, 16) >= 0) == (32, False, True)
