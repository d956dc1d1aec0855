"""Who may use the API, and how much: the check before its routes, whatever those are.

Behind it ``request.state.key`` is the caller's `Key`, ``None`` where none was needed and none given, and
``request.state.spend(tokens)`` counts what a request used against the key's tokens a minute.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from time import monotonic
from typing import NoReturn, Protocol

from anyio import CapacityLimiter, to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.doors.buckets import Clock, Tries, whole_seconds
from app.doors.entrances import Entrance, Nearness, network_of
from app.doors.keys import Key, prefix_of
from app.doors.limits import Lanes, LeftError, LimitError

_log = logging.getLogger(__name__)
_BEARER = re.compile(r"bearer +(?P<secret>\S+)", re.IGNORECASE | re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_STRANGE_SITES = ("cross-site", "same-site")
"""Other servers of this machine or domain are strangers too."""
_TRIES, _TRIES_PER_S = 30, 0.5
DENIED = "permission_error"
_REFUSED = "invalid_request_error"


class Refusal(Protocol):
    """Makes the answer to a request that is refused, in the API's shape of errors."""

    def __call__(
        self,
        status: int,
        message: str,
        type: str,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> ASGIApp: ...


class Keys(Protocol):
    """Where keys are found, on a thread that may wait: `app.store.keys.repository.KeyStore`."""

    def known(self, secret: str) -> Key | None:
        """The key of a secret that was checked before, found fast; ``None`` says nothing about the others."""

    def check(self, secret: str) -> Key | None:
        """The key of a secret, found out slowly; ``None`` if it is none, or was revoked."""


class CallRefusedError(Exception):
    """A call that may not come in: what a `Refusal` makes its answer of."""

    def __init__(self, status: int, message: str, type: str, code: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.type, self.code, self.headers = status, type, code, headers


class Access:
    """ASGI middleware before the API and the metrics; everything else passes.

    Args:
        app: what is behind.
        keys: gives the store of keys; called on a thread.
        keys_fail: what that and the store may raise, with a message for the user.
        nearness: which requests need no key.
        is_on: whether others than this machine may use the API.
        max_body: most bytes of a request.
        refusal: makes the answers of this check.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Callable[[], Keys],
        keys_fail: type[Exception],
        nearness: Nearness,
        is_on: bool,
        max_body: int,
        refusal: Refusal,
        clock: Clock = monotonic,
    ) -> None:
        self._app = app
        self._keys, self._keys_fail = keys, keys_fail
        self._nearness, self._is_on, self._max_body, self._refusal = nearness, is_on, max_body, refusal
        self._lanes = Lanes(clock)
        self._tries = Tries(_TRIES, _TRIES_PER_S, clock)
        self._slow = CapacityLimiter(1)  # whoever guesses in parallel must not take all threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        entrance = Entrance.of(scope) if scope["type"] == "http" else None
        if entrance not in (Entrance.API, Entrance.METRICS):
            await self._app(scope, receive, send)
            return
        try:
            key = await self._caller(scope, entrance)
            await self._answer(key, scope, receive, send, limited=entrance is Entrance.API)
        except CallRefusedError as refused:
            refusal = self._refusal(refused.status, str(refused), refused.type, refused.code, headers=refused.headers)
            await refusal(scope, receive, send)
        except LimitError as error:
            headers = {"Retry-After": str(error.retry_s)}
            refusal = self._refusal(429, str(error), error.kind, "rate_limit_exceeded", headers=headers)
            await refusal(scope, receive, send)
        except LeftError:
            return  # nobody is there to be answered

    async def _caller(self, scope: Scope, entrance: Entrance) -> Key | None:
        """Whose key a request has.

        Raises:
            CallRefusedError: it may not come in.
        """
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") in _STRANGE_SITES:
            raise CallRefusedError(403, "A page of another site may not use this API.", DENIED, "cross_site")
        near = self._nearness.is_local(scope)
        if entrance is Entrance.API and not near and not self._is_on:
            raise CallRefusedError(
                403,
                "The API of this server is off for other machines. Whoever runs it switches it on with "
                "`gearbox run --api` or GEARBOX_API=1.",
                DENIED,
                "api_off",
            )
        given = headers.getlist("authorization")
        if len(given) > 1:
            raise CallRefusedError(400, "Send one Authorization header.", _REFUSED, "invalid_api_key")
        bearer = _BEARER.fullmatch(given[0]) if given else None
        secret = bearer["secret"] if bearer else ""
        if prefix_of(secret):
            return await self._holder(secret, network_of(scope))
        if near:  # clients must send something even where nothing is asked for
            return None
        if given:
            _refuse_key()
        raise CallRefusedError(
            401,
            "Send a key: `Authorization: Bearer gbx_…`. `gearbox keys create` and the Settings page make keys.",
            _REFUSED,
            "invalid_api_key",
            headers={"WWW-Authenticate": 'Bearer realm="Gearbox"'},
        )

    async def _holder(self, secret: str, network: str) -> Key:
        try:
            key = await to_thread.run_sync(lambda: self._keys().known(secret))
            if key is None:
                if wait_s := self._tries.take(network):
                    raise CallRefusedError(
                        429,
                        "Too many keys from here were wrong.",
                        "requests",
                        "rate_limit_exceeded",
                        headers={"Retry-After": str(whole_seconds(wait_s))},
                    )
                key = await to_thread.run_sync(lambda: self._keys().check(secret), limiter=self._slow)
                if key is None:
                    _refuse_key()
                self._tries.was_right(network)
        except self._keys_fail as error:
            _log.warning("A key could not be looked up: %s", error)
            raise CallRefusedError(
                503, "Keys cannot be looked up now.", "server_error", "keys_unavailable", headers={"Retry-After": "5"}
            ) from error
        return key

    async def _answer(self, key: Key | None, scope: Scope, receive: Receive, send: Send, *, limited: bool) -> None:
        lane = self._lanes.of(key) if key and limited else None
        state = {**scope.get("state", {}), "key": key, "spend": lane.spend if lane else _spend_freely}
        scope = {**scope, "state": state}
        if lane:
            lane.count()
        replayed = await self._read(Headers(scope=scope), receive)
        if lane and scope["method"] == "POST":
            async with lane.turn(lambda: _left(receive)):
                await self._app(scope, replayed, send)
        else:
            await self._app(scope, replayed, send)

    async def _read(self, headers: Headers, receive: Receive) -> Receive:
        """Read the whole body before anything is made of it, and give it out again as one message.

        Raises:
            CallRefusedError: it is too large.
            LeftError: its sender has gone.
        """
        announced = _DIGITS.fullmatch(headers.get("content-length", ""))
        if announced and int(announced[0]) > self._max_body:
            self._refuse_size()
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise LeftError
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self._max_body:
                self._refuse_size()
        whole: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

        async def replayed() -> Message:
            return whole.pop() if whole else await receive()

        return replayed

    def _refuse_size(self) -> NoReturn:
        raise CallRefusedError(
            413,
            f"A request may have {self._max_body:,} bytes. Whoever runs the server can allow more with "
            "GEARBOX_MAX_BODY_MIB.",
            _REFUSED,
            "request_too_large",
        )


def _refuse_key() -> NoReturn:
    raise CallRefusedError(
        401,
        "This is no key of this server, or it was revoked.",
        _REFUSED,
        "invalid_api_key",
        headers={"WWW-Authenticate": 'Bearer realm="Gearbox", error="invalid_token"'},
    )


def _spend_freely(_tokens: int) -> None:
    """Nothing is counted where no key limits it."""


async def _left(receive: Receive) -> None:
    """Wait until whoever asked has gone; what else comes after a whole request means nothing."""
    while (await receive())["type"] != "http.disconnect":
        pass
