"""A server's answer on its way to the engine's thread, which never waits for it: filled in the network's."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import aclosing
from time import perf_counter

from engine.backends.remote.counters import Counters, read_counters
from engine.backends.remote.exchange import Exchange
from engine.backends.remote.network import Network
from engine.backends.remote.reading import Piece
from engine.errors import EngineClosedError, GearboxError, RemoteError
from engine.types import GenerationRequest, RemoteModel

log = logging.getLogger(__name__)

_COUNTS_WITHIN_S = 0.1
"""A server that has not counted a request yet is asked again after so long."""


class Mailbox:
    """One request, sent as soon as this is made."""

    def __init__(self, network: Network, model: RemoteModel, request: GenerationRequest) -> None:
        """
        Args:
            network: where it is sent.
            model: who is asked.
            request: as it is asked of this model.

        Raises:
            EngineClosedError: the engine has been closed.
        """
        self.model = model
        self.exchange: Exchange | None = None
        """What is known of it; ``None`` before it is sent."""
        self.error: GearboxError | None = None
        """Why it has no answer, or no whole one."""
        self.before: Counters | None = None
        """The server's counters before it, and after; ``None`` where they are not read."""
        self.after: Counters | None = None
        self.held_up_s = 0.0
        """Before it was sent, by reading the server's counters."""
        self.ended: float | None = None
        """When the whole answer was there, by ``time.perf_counter``."""
        self._network = network
        self._pieces: deque[tuple[Piece, float]] = deque()
        self._is_over = False
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        network.begin(lambda: self._fill(request))

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._is_over

    @property
    def is_answered(self) -> bool:
        """Whether nothing more will come of the answer. The server's counters may be on their way."""
        return self.ended is not None or self._is_over

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or no more of the answer to wait for."""
        return bool(self._pieces) or self.is_answered

    def take(self) -> list[tuple[Piece, float]]:
        """What has come, with the time of each by ``time.perf_counter``; empty once all is taken."""
        taken = []
        while self._pieces:
            taken.append(self._pieces.popleft())
        return taken

    def close(self) -> None:
        """Read no further, and close the connection."""
        self._is_closed = True
        self._network.soon(self._end)

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _fill(self, request: GenerationRequest) -> None:
        self._task = asyncio.current_task()
        try:
            if not self._is_closed:
                await self._follow(request)
        except GearboxError as error:
            self.error = error
        except asyncio.CancelledError:
            if not self._is_closed:
                self.error = EngineClosedError("The engine has been shut down.")
        except Exception as error:
            log.error("asking a server failed unexpectedly", exc_info=error)
            self.error = RemoteError(f"{self.model.name}: unexpected error in the engine: {error}")
        finally:
            self._is_over = True

    async def _follow(self, request: GenerationRequest) -> None:
        self.exchange = self._network.exchange(self.model, request)
        begun = perf_counter()
        self.before = await read_counters(self._network.http, self.model)
        self.held_up_s = perf_counter() - begun
        async with aclosing(self.exchange.pieces()) as pieces:
            async for piece in pieces:
                self._pieces.append((piece, perf_counter()))
        self.ended = perf_counter()
        self.after = await read_after(self._network, self.model, self.before)


async def read_after(network: Network, model: RemoteModel, before: Counters | None) -> Counters | None:
    """The server's counters once it has counted a run; ``None`` where it does not tell."""
    if before is None:
        return None
    after = await read_counters(network.http, model)
    if after is not None and before.requests is not None and after.requests == before.requests:
        await asyncio.sleep(_COUNTS_WITHIN_S)
        after = await read_counters(network.http, model)
    return after
