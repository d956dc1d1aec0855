"""An OpenAI-compatible server over real HTTP that answers as a test tells it to: late, wrong, in pieces, not at all."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Ending = Literal["done", "no mark", "no reason", "cut", "hang"]
"""How a stream ends: properly; without ``[DONE]``; without a finish_reason; with the connection cut; never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one request is answered with."""

    texts: tuple[str, ...] = ("one", " two", " three")
    wait_s: float = 0.0
    """Before the first text."""
    gap_s: float = 0.0
    """Between texts."""
    ending: Ending = "done"
    reason: str = "stop"
    usage: Mapping[str, Any] | None = field(
        default_factory=lambda: {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 4},
        }
    )
    chunks: tuple[str, ...] = ()
    """Sent as they are after the texts."""
    status: int = 200
    """Any other one comes with ``error`` as its body, and no stream."""
    error: Any = None
    media_type: str = "text/event-stream"
    whole: Any = None
    """A body of JSON that is sent at once after ``wait_s``, and no stream."""


def ok(_body: Mapping[str, Any]) -> Reply:
    return Reply()


class ScriptedServer:
    """Serves on a free port of this machine as long as it is entered."""

    def __init__(self, script: Callable[[Mapping[str, Any]], Reply] = ok) -> None:
        """
        Args:
            script: called with each request's body.
        """
        self.script = script
        self.bodies: list[Mapping[str, Any]] = []
        """Of all requests, in the order of their arrival."""
        self.headers: list[Mapping[str, str]] = []
        self.models: Any = {"object": "list", "data": [{"id": "m", "object": "model"}]}
        """What is listed at ``/v1/models``."""
        self.models_status = 200
        self.most_at_once = 0
        self.holds_until = 0
        """Requests wait until so many are there at once."""
        self.url = ""
        self._now = 0
        self._enough = asyncio.Event()
        routes = [
            Route("/v1/chat/completions", self._answer, methods=["POST"]),
            Route("/v1/models", self._list, methods=["GET"]),
        ]
        app = Starlette(routes=routes)
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive()
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _list(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        elsewhere = {"location": "http://127.0.0.1:9/v1/models"} if self.models_status == 307 else {}
        return JSONResponse(self.models, self.models_status, headers=elsewhere)

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        reply = self.script(body)
        if reply.status != 200:
            return JSONResponse(reply.error, reply.status)
        if reply.whole is not None:
            await asyncio.sleep(reply.wait_s)
            return JSONResponse(reply.whole)
        return StreamingResponse(self._stream(reply), media_type=reply.media_type)

    async def _stream(self, reply: Reply) -> AsyncIterator[str]:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self._now >= self.holds_until:
                self._enough.set()
            await self._enough.wait()
            await asyncio.sleep(reply.wait_s)
            yield _event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
            for number, text in enumerate(reply.texts):
                await asyncio.sleep(reply.gap_s if number else 0)
                yield _event(
                    {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], "usage": None}
                )
            for chunk in reply.chunks:
                yield f"data: {chunk}\n\n"
            if reply.ending == "cut":
                raise ConnectionAbortedError
            if reply.ending == "hang":
                await asyncio.sleep(3600)
            if reply.ending != "no reason":
                yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": reply.reason}]})
            if reply.usage is not None:
                yield _event({"choices": [], "usage": reply.usage})
            if reply.ending != "no mark":
                yield "data: [DONE]\n\n"
        finally:
            self._now -= 1


def _event(value: Any) -> str:
    return f"data: {json.dumps(value)}\n\n"
