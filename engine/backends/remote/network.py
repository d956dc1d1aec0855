"""The thread in which servers are asked, all of them: it waits for their answers and computes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from engine.backends.remote.asking import Dialect
from engine.backends.remote.breaker import Breaker
from engine.backends.remote.exchange import Exchange
from engine.errors import EngineClosedError
from engine.types import GenerationRequest, RemoteModel, RemoteStatus

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

_IDLE_CONNECTION_S = 2.0
"""An older connection is not used again: servers close them after 5 s, which would look like an error of theirs."""
_ENDS_WITHIN_S = 5.0


class Network:
    """Servers, and what is known of each. The thread begins with the first request."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        """A run that is let go of is cancelled wherever that is noticed, in here too."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._http: httpx2.AsyncClient | None = None
        self._breakers: dict[str, Breaker] = {}
        self._dialects: dict[tuple[str, str], Dialect] = {}

    def begin(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Do something in the network's thread.

        Args:
            work: makes the coroutine, in this thread.

        Raises:
            EngineClosedError: it has been closed.
        """
        with self._lock:
            if self._is_closed:
                raise EngineClosedError("The engine has been shut down.")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name="network", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def soon(self, call: Callable[[], object]) -> None:
        """Call something in the network's thread, if that is there; it is not waited for."""
        with self._lock:
            if self._loop is not None and not self._is_closed:
                self._loop.call_soon_threadsafe(call)

    def exchange(self, model: RemoteModel, request: GenerationRequest) -> Exchange:
        """A request to a server, not sent yet. In the network's thread."""
        dialect = self._dialects.setdefault((model.url, model.served_name), Dialect())
        return Exchange(self.http, model, request, dialect, self._breaker(model))

    @property
    def http(self) -> httpx2.AsyncClient:
        """What all connections are made with. In the network's thread."""
        if self._http is None:
            self._http = open_client()
        return self._http

    def status(self) -> tuple[RemoteStatus, ...]:
        """How each server that was asked has been doing. From any thread."""
        return tuple(breaker.status() for breaker in list(self._breakers.values()))

    def close(self) -> None:
        """Close all connections, and end the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            was_closed, self._is_closed = self._is_closed, True
        if loop is None or thread is None or was_closed:
            return
        asyncio.run_coroutine_threadsafe(self._shut_down(), loop)
        thread.join(timeout=_ENDS_WITHIN_S)

    def _breaker(self, model: RemoteModel) -> Breaker:
        parts = urlsplit(model.url)
        return self._breakers.setdefault(f"{parts.scheme}://{model.server}", Breaker(model.server))

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()

    async def _shut_down(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_ENDS_WITHIN_S)
        if self._http is not None:
            await self._http.aclose()
        loop = asyncio.get_running_loop()
        await loop.shutdown_asyncgens()  # streams that nobody read to their end
        loop.stop()


def open_client() -> httpx2.AsyncClient:
    """A client that follows no redirects, keeps no cookies, and sends a key nowhere but where it is told to."""
    import httpx2

    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    limits = httpx2.Limits(max_connections=None, keepalive_expiry=_IDLE_CONNECTION_S)
    return httpx2.AsyncClient(follow_redirects=False, cookies=no_cookies, limits=limits, timeout=None)
