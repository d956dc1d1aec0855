"""How much each key may ask for at a time, a minute, and in waiting. Used on the server's event loop alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

from app.doors.buckets import Clock, TokenBucket, whole_seconds
from app.doors.keys import Key, KeyLimits

_QUEUE_RETRY_S = 5
"""When to come back where too many wait: nobody knows how long their answers take."""


class LimitError(Exception):
    """More than a key may ask for; the message is for whoever reads the answer.

    Args:
        message: what limit it is.
        kind: of what there was too much: ``requests`` or ``tokens``.
        retry_s: when to come back.
    """

    def __init__(self, message: str, kind: str, retry_s: int) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_s = retry_s


class LeftError(Exception):
    """Whoever asked has gone while waiting."""


class Lane:
    """The requests of one key: those that run, and those that wait for their turn."""

    def __init__(self, limits: KeyLimits, clock: Clock = monotonic) -> None:
        self._limits = limits
        self._requests = _a_minute(limits.requests_per_minute, clock)
        self._tokens = _a_minute(limits.tokens_per_minute, clock)
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def count(self) -> None:
        """Count one request.

        Raises:
            LimitError: there were too many a minute, or too many tokens.
        """
        if self._tokens and (wait_s := self._tokens.wait_s()):
            most = self._limits.tokens_per_minute
            raise LimitError(f"This key may use {most:,} tokens a minute.", "tokens", whole_seconds(wait_s))
        if self._requests and (wait_s := self._requests.take()):
            most = self._limits.requests_per_minute
            raise LimitError(f"This key may ask {most:,} times a minute.", "requests", whole_seconds(wait_s))

    def spend(self, tokens: int) -> None:
        """Say what a request used, prompt and answer together."""
        if self._tokens:
            self._tokens.spend(tokens)

    @asynccontextmanager
    async def turn(self, left: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """A request's turn to run; the next one's begins when it ends.

        Args:
            left: returns as soon as whoever asked has gone; used, and cancelled, only while there is waiting.

        Raises:
            LimitError: as many wait as may.
            LeftError: whoever asked has gone.
        """
        if self._limits.concurrent is not None and self._running >= self._limits.concurrent:
            await self._wait(left)  # whoever ended has handed its place over: the count stays
        else:
            self._running += 1
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, left: Callable[[], Awaitable[None]]) -> None:
        limits = self._limits
        if limits.queue is not None and len(self._waiting) >= limits.queue:
            raise LimitError(
                f"{limits.concurrent:,} of this key's requests run and {limits.queue:,} wait: it may have no more.",
                "requests",
                _QUEUE_RETRY_S,
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        gone = asyncio.ensure_future(left())
        has_come = False
        try:
            await asyncio.wait({turn, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                raise LeftError
            has_come = True
        finally:
            gone.cancel()
            if not has_come and turn.done():  # the place was handed over to somebody who cannot use it
                self._pass_on()
            elif not has_come:
                self._waiting.remove(turn)

    def _pass_on(self) -> None:
        """Give a place to whoever has waited longest."""
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._running -= 1


class Lanes:
    """The lanes of all keys that are in use."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._lanes: dict[str, Lane] = {}

    def of(self, key: Key) -> Lane:
        """The lane of a key; its limits never change."""
        if key.id not in self._lanes:
            self._lanes[key.id] = Lane(key.limits, self._clock)
        return self._lanes[key.id]


def _a_minute(most: int | None, clock: Clock) -> TokenBucket | None:
    return None if most is None else TokenBucket(most, most / 60, clock)
