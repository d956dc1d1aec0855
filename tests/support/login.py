"""The gate before an app that would let everybody in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from app.doors.entrances import Nearness
from app.doors.login.gate import Gate
from app.doors.login.password import Password
from app.doors.login.way import Way
from tests.support.asgi import Answer, ask, make_scope
from tests.support.clock import Clock

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
    """The gate, with a way in."""
    return Gate(behind, way=way, nearness=Nearness(only_this_machine))


def desk(clock: Clock | None = None, moment: Clock | None = None, word: str = WORD) -> Password:
    """Where the password is asked for."""
    return Password(word, KEY, clock or Clock(), moment or Clock())


def send(app: ASGIApp, fields: Mapping[str, str], *headers: tuple[str, str], **request: Any) -> Answer:
    """Send the form."""
    body = urlencode(fields).encode()
    return ask(app, make_scope(request.pop("path", "/"), FORM, *headers, method="POST", **request), (body,))


def cookie_of(answer: Answer) -> tuple[str, str]:
    """The header with which a browser comes back."""
    return "Cookie", answer.headers["set-cookie"].partition(";")[0]
