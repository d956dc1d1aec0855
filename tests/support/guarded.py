"""A small API behind the doors' check."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from app.api.errors import error_response
from app.doors.access import Access
from app.doors.entrances import Nearness
from app.doors.keys import Key, KeyLimits, new_secret
from app.store import StoreError
from tests.support.asgi import Answer, ask, make_scope
from tests.support.clock import Clock

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
    """What it answers to a request from elsewhere."""
    return ask(app, make_scope(path, *headers, method=method, client=client), (body,))


def bearer(secret: str | bytes) -> tuple[str, str | bytes]:
    """The header that a key comes in."""
    return "Authorization", b"Bearer " + secret if isinstance(secret, bytes) else f"Bearer {secret}"
