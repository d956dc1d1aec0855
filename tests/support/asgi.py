"""ASGI applications asked without a server: one request, and what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope


@dataclass(frozen=True)
class Answer:
    """What an application sent; of a websocket, 101 for one that was accepted."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> dict[str, Any]:
        """What is inside an error of OpenAI's shape."""
        outer = json.loads(self.body)
        assert set(outer) == {"error"}
        assert set(outer["error"]) == {"message", "type", "param", "code"}
        return dict(outer["error"])


def make_scope(
    path: str = "/",
    *headers: tuple[str, str | bytes],
    method: str = "GET",
    kind: str = "http",
    client: str | None = "192.0.2.7",
    scheme: str = "http",
    query: str = "",
) -> Scope:
    """A request's scope; ``client`` is where it comes from."""
    return {
        "type": kind,
        "method": method,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "client": (client, 50_000) if client else None,
        "server": ("127.0.0.1", 8501),
        "headers": [
            (name.lower().encode(), value if isinstance(value, bytes) else value.encode("latin-1"))
            for name, value in headers
        ],
        "extensions": {"websocket.http.response": {}},
    }


async def ask_async(
    app: ASGIApp,
    scope: Scope,
    parts: Iterable[bytes] = (b"",),
    *,
    gone: Callable[[], Awaitable[None]] | None = None,
) -> Answer | None:
    """Send one request, its body in parts; ``None`` if nothing was answered.

    Args:
        app: what is asked.
        scope: of the request.
        parts: the body; read one by one, so that a generator sees how far it was read.
        gone: returns when whoever asks goes away; they stay otherwise.
    """
    sent: list[Message] = []
    coming = iter(parts)
    following: list[bytes] = [next(coming, b"")]

    async def receive() -> Message:
        if scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        if following:
            part = following.pop()
            following.extend([rest] if (rest := next(coming, None)) is not None else [])
            return {"type": "http.request", "body": part, "more_body": bool(following)}
        await (gone() if gone else asyncio.Event().wait())
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return None
    first = sent[0]
    return Answer(
        101 if first["type"] == "websocket.accept" else first["status"],
        {name.decode(): value.decode() for name, value in first.get("headers", [])},
        b"".join(message.get("body", b"") for message in sent),
    )


def ask(app: ASGIApp, scope: Scope, parts: Iterable[bytes] = (b"",)) -> Answer:
    """`ask_async` of somebody who waits for the answer."""
    answer = asyncio.run(ask_async(app, scope, parts))
    assert answer
    return answer
