"""One request to a server, and its answer piece by piece. In the network's thread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from engine.backends.remote.asking import Dialect, body_of, notes_of, path_of
from engine.backends.remote.breaker import Admission, Breaker, RestingError
from engine.backends.remote.reading import AnswerReader, BrokenAnswerError, Piece
from engine.backends.remote.words import connection_words, error_message, is_untrusted, one_line, status_words
from engine.errors import RemoteError
from engine.types import GenerationRequest, RemoteModel
from engine.untrusted import parse_json

if TYPE_CHECKING:
    import httpx2

CONNECTIONS_TRIED = 3
_BACKOFF_S = (0.1, 0.4)
_MOST_OF_AN_ERROR = 4096
"""Bytes that are read of what a server says of an error."""
_ERROR_WITHIN_S = 5.0
"""For what a server says of an error; what has come by then is shown."""
_MOST_OF_A_PIECE = 2**20
"""Bytes of one chunk of a stream."""
_MOST_OF_AN_ANSWER = 256 * 2**20
"""Bytes of a whole stream, whatever it is made of."""
_FIELD_REFUSED = (400, 422)


class Exchange:
    """A request on its way: made, followed by :meth:`pieces` once, and looked at afterwards."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        model: RemoteModel,
        request: GenerationRequest,
        dialect: Dialect,
        breaker: Breaker,
    ) -> None:
        self.model = model
        self.reader = AnswerReader()
        self.connect_s: float | None = None
        """What a new connection took; ``None`` where an open one was used."""
        self.first_byte_s: float | None = None
        """From sending to the answer's headers."""
        self.attempts = 0
        """Connections tried for the request as it was sent last."""
        self._http = http
        self._request = request
        self._dialect = dialect
        self._breaker = breaker
        self._begun: dict[str, float] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the server was not asked for, or did otherwise than it should, a sentence each."""
        return (*notes_of(self._request, self._dialect), *self.reader.notes)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Ask, and follow the answer to its end. Whoever reads no further closes it, which closes the connection.

        Raises:
            RemoteError: the server cannot be asked, or the answer is none, or not whole, in the user's words.
        """
        import httpx2

        model = self.model
        try:
            with self._breaker.admitted(model.name) as admission:
                async with AsyncExitStack() as stack:
                    response = await self._send(admission, stack)
                    has_begun = False
                    try:
                        async with asyncio.timeout(model.read_timeout_s) as limit:
                            async for piece in self._read(response):
                                limit.reschedule(None)  # what the reader does with it is not the server's time
                                if not has_begun:
                                    has_begun = True
                                    admission.reached()
                                yield piece
                                limit.reschedule(asyncio.get_running_loop().time() + model.read_timeout_s)
                    except (TimeoutError, httpx2.ReadTimeout):
                        if not has_begun:
                            admission.failed("does not answer")
                        raise
                    self.reader.end()
                    if not has_begun:
                        admission.reached()
        except RestingError as error:
            raise self._error(
                f"has failed {error.failures} times in a row and is not asked for another {error.left_s:.0f} s: "
                f"{error.last_error}"
            ) from None
        except BrokenAnswerError as error:
            raise self._error(str(error)) from None
        except (TimeoutError, httpx2.ReadTimeout):
            raise self._error(f"sent nothing of an answer for {model.read_timeout_s:g} s") from None
        except httpx2.SSEError:
            raise self._error(f"sent a piece of more than {_MOST_OF_A_PIECE:,} bytes") from None
        except (httpx2.TransportError, httpx2.DecodingError, httpx2.StreamError):
            raise self._error("closed the connection in the middle of the answer") from None

    async def _send(self, admission: Admission, stack: AsyncExitStack) -> httpx2.Response:
        """The answer's beginning; asked again where the server did not take a field that it can do without."""
        dialect = self._dialect.copy()
        while True:
            body = body_of(self._request, self.model, dialect)
            response = await self._connect(admission, body, stack)
            if response.status_code == 200:  # so it was that which it did not take
                self._dialect.adopt(dialect)
                return response
            if response.status_code < 500:
                admission.reached()
            said = await _error_text(response)
            await response.aclose()
            if response.status_code in _FIELD_REFUSED and dialect.learn(said, body):
                continue
            words = status_words(
                response.status_code,
                one_line(said, self.model.key),
                response.headers,
                has_key=self.model.key is not None,
                model=self.model.served_name,
            )
            if response.status_code >= 500:
                admission.failed(words)
            raise self._error(words)

    async def _connect(self, admission: Admission, body: dict[str, Any], stack: AsyncExitStack) -> httpx2.Response:
        """Send a request; only where no connection came about, once more."""
        import httpx2

        model = self.model
        self.attempts = 0
        while True:
            self.attempts += 1
            self.connect_s = None  # of this one
            try:
                async with asyncio.timeout(model.connect_timeout_s + model.read_timeout_s):
                    sent = perf_counter()
                    response = await self._http.send(self._built(body), stream=True)
                self.first_byte_s = perf_counter() - sent - (self.connect_s or 0.0)
                stack.push_async_callback(response.aclose)
                return response
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
                is_late = isinstance(error, httpx2.ConnectTimeout)
                why = f"no connection within {model.connect_timeout_s:g} s" if is_late else connection_words(error)
                if self.attempts == CONNECTIONS_TRIED or is_untrusted(error):
                    admission.failed(f"cannot be reached: {why}")
                    raise self._error(f"cannot be reached: {one_line(why, model.key)}") from None
                await asyncio.sleep(_BACKOFF_S[self.attempts - 1])
            except (TimeoutError, httpx2.TimeoutException):
                admission.failed("does not answer")
                raise self._error(f"sent nothing of an answer for {model.read_timeout_s:g} s") from None
            except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL):
                raise self._error("has an address or a key that cannot be used") from None
            except httpx2.TransportError:
                admission.failed("closes connections without an answer")
                raise self._error("closed the connection without an answer") from None

    def _built(self, body: dict[str, Any]) -> httpx2.Request:
        import httpx2

        model = self.model
        headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
        if model.key:
            headers["authorization"] = f"Bearer {model.key}"
        limits = httpx2.Timeout(model.read_timeout_s, connect=model.connect_timeout_s, pool=None)
        return self._http.build_request(
            "POST",
            model.url.rstrip("/") + path_of(self._request),
            content=json.dumps(body).encode(),
            headers=headers,
            timeout=limits,
            extensions={"trace": self._trace},
        )

    async def _trace(self, name: str, _info: Any) -> None:
        """Told by the connection what it does; a new one takes a round trip, and with TLS some more."""
        what, _, stage = name.rpartition(".")
        if what in ("connection.connect_tcp", "connection.start_tls"):
            if stage == "started":
                self._begun[what] = perf_counter()
            elif stage == "complete":
                before = 0.0 if what.endswith("tcp") else self.connect_s or 0.0
                self.connect_s = before + perf_counter() - self._begun[what]

    async def _read(self, response: httpx2.Response) -> AsyncGenerator[Piece, None]:
        import httpx2

        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            if (piece := self.reader.take_whole(await _whole(response))) is not None:
                yield piece
            return
        if kind != "text/event-stream":
            raise BrokenAnswerError(f"answers with {kind or 'nothing that it names'} instead of a stream of events")
        response.encoding = "utf-8"  # as all streams of events are
        size = 0
        async for event in httpx2.EventSource(response, _MOST_OF_A_PIECE):
            size += len(event.data)
            if size > _MOST_OF_AN_ANSWER:
                raise BrokenAnswerError(f"sent more than {_MOST_OF_AN_ANSWER:,} bytes for one answer")
            if (piece := self.reader.take(event.data)) is not None:
                yield piece
            if self.reader.is_done:
                return

    def _error(self, clause: str) -> RemoteError:
        return RemoteError(f"{self.model.name} ({self.model.server}) {one_line(clause, self.model.key)}.")


async def _whole(response: httpx2.Response) -> str:
    """A body of JSON.

    Raises:
        BrokenAnswerError: it is longer than any answer.
    """
    read = b""
    async for part in response.aiter_bytes():
        read += part
        if len(read) > _MOST_OF_A_PIECE:
            raise BrokenAnswerError(f"sent an answer of more than {_MOST_OF_A_PIECE:,} bytes at once")
    return read.decode("utf-8", "replace")


async def _error_text(response: httpx2.Response) -> str:
    """What a server says of an error, OpenAI's message if it is in that shape."""
    read = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(_ERROR_WITHIN_S):
            async for part in response.aiter_bytes():
                read += part
                if len(read) >= _MOST_OF_AN_ERROR:
                    break
    text = read[:_MOST_OF_AN_ERROR].decode("utf-8", "replace")
    try:
        return error_message(parse_json(text))
    except ValueError:
        return text
