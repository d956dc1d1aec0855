"""The way of a call: translated, begun, watched for a client that leaves, answered."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

from anyio import CapacityLimiter, to_thread
from sse_starlette.sse import AppStatus
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.answering import Answering, Answers
from app.api.callers import Caller, spend
from app.api.failures import shut_down
from app.api.presentation import ChatShape, Presentation, Shape, TextShape, tiers
from app.api.requests import Call, ChatCall, CompletionCall
from app.api.served import Catalogue, Served
from app.api.streaming import AnswerStream
from app.api.translation import chat_requests, completion_requests
from engine.types import GenerationRequest

_T = TypeVar("_T")

HEADERS_AFTER_S = 15.0
"""How long a stream's headers wait for its first token: what is wrong with a call until then has its own status."""
_GONE = 499
"""What some proxies log for a client that did not wait; nobody reads it."""
_LOOKUPS_AT_ONCE = 4
_LOOK_EVERY_S = 0.5


class _GoneError(Exception):
    """The client did not wait."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Answers calls."""

    catalogue: Catalogue
    answering: Answering
    lookups: CapacityLimiter

    @classmethod
    def of(cls, catalogue: Catalogue, answering: Answering) -> Calls:
        """The calls of a server.

        Args:
            catalogue: what can be named.
            answering: what makes the answers.
        """
        return cls(catalogue, answering, CapacityLimiter(_LOOKUPS_AT_ONCE))

    async def look_up(self, function: Callable[..., _T], *arguments: object) -> _T:
        """What a function returns that reads files or the database."""
        return await to_thread.run_sync(function, *arguments, limiter=self.lookups)

    async def chat(self, request: Request, call: ChatCall) -> Response:
        """A chat completion."""
        caller, served = await self._prepare(request, call)
        requests = chat_requests(call, served, caller.cache_salt)
        with_logprobs = bool(call.logprobs)
        return await self._answer(
            request, call, caller, served, requests, ChatShape(), prompts=1, with_logprobs=with_logprobs
        )

    async def complete(self, request: Request, call: CompletionCall) -> Response:
        """A completion."""
        caller, served = await self._prepare(request, call)
        requests = completion_requests(call, served, caller.cache_salt)
        prompts = 1 if isinstance(call.prompt, str) else len(call.prompt)
        with_logprobs = call.logprobs is not None
        return await self._answer(
            request, call, caller, served, requests, TextShape(), prompts=prompts, with_logprobs=with_logprobs
        )

    async def _prepare(self, request: Request, call: Call) -> tuple[Caller, Served]:
        return Caller.of(request, call.user), await self.look_up(self.catalogue.find, call.model)

    async def _answer(
        self,
        request: Request,
        call: Call,
        caller: Caller,
        served: Served,
        requests: list[GenerationRequest],
        shape: Shape,
        *,
        prompts: int,
        with_logprobs: bool,
    ) -> Response:
        answers = self.answering.start(
            requests, caller, call.metadata, streamed=bool(call.stream), spend=partial(spend, request)
        )
        response: Response | None = None
        try:
            wait = answers.begun(HEADERS_AFTER_S) if call.stream else answers.ended()
            await _unless_gone(request, wait)
            if answers.failure:
                raise answers.failure
            told = Presentation(
                shape=shape,
                model=served.name,
                config_hash=requests[0].config.hash,
                with_logprobs=with_logprobs,
                id=answers.each[0].run.run_id or "",
            )
            if call.stream:
                with_usage = bool(call.stream_options and call.stream_options.include_usage)
                response = AnswerStream(answers, told, _headers(answers, told), prompts=prompts, usage=with_usage)
                return response
            return JSONResponse(told.whole(answers, prompts), headers=_headers(answers, told))
        except _GoneError:
            return Response(status_code=_GONE)
        finally:
            if not isinstance(response, AnswerStream):  # that one ends them itself
                answers.stop()


def _headers(answers: Answers, told: Presentation) -> dict[str, str]:
    """What is known of the runs before the body."""
    headers = {"x-gearbox-run-id": answers.run_ids, "x-gearbox-config-hash": told.config_hash}
    if who := tiers(answers):
        headers["x-gearbox-tier"] = quote(who, safe=" ,.@:+")
    return headers


def _is_to_end() -> bool:
    """Whether the server was asked to end: by what streams go by too, or by the server behind the signal's handler."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return AppStatus.should_exit or bool(getattr(server, "should_exit", False))


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """What some work returns; it is given up once the client has gone, or the server is to end, which waits for calls.

    Raises:
        _GoneError: the client has gone.
        ApiError: the server is to end.
    """

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(leave())
    try:
        while not working.done():
            await asyncio.wait({working, leaving}, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                break
            if leaving.done():
                raise _GoneError
            if _is_to_end():
                raise shut_down()
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
