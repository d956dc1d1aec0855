"""One request to an OpenAI-compatible server, streamed and timed."""

from __future__ import annotations

import asyncio
import json
import os
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import httpx2

from app.remote.address import endpoint_of
from app.remote.keys import key_from
from engine.backends.remote import error_message, one_line
from engine.untrusted import parse_json

KEY_VARIABLES = ("GEARBOX_API_KEY", "OPENAI_API_KEY")
"""Where a key is taken from, the first that is set; it is never asked for in another way, nor written anywhere."""
_MOST_READ = 4096
"""Bytes of what a server says of an error."""
_IDLE_CONNECTION_S = 2.0
"""An older connection is not used again: servers close them after 5 s, which would look like an error of theirs."""
_UNFINISHED = ("abort", "error")
"""What servers give as a reason for an answer that they gave up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request: an answer that ended properly, or the kind of error."""

    error: str | None = None
    """"HTTP 429", "timeout", "no connection", "broken stream" or "error in stream"; ``None`` where it ended properly.
    Nothing below is known after an error."""
    detail: str = ""
    """What the server said of the error, one line."""
    ttft_s: float = 0.0
    """From sending to the first token: the first text, or the end of an answer without any."""
    e2e_s: float = 0.0
    """From sending to the last token."""
    gaps_s: array[float] = field(default_factory=lambda: array("d"))
    """Between pieces of text as they arrived: ITL, where a server sends each token at once."""
    prompt_tokens: int | None = None
    """As the server counted, like the following; ``None`` where it did not."""
    cached_tokens: int | None = None
    completion_tokens: int = 0
    counted: bool = True
    """Whether the server counted the answer's tokens. Otherwise its pieces of text are taken for tokens."""

    @property
    def tpot_s(self) -> float | None:
        """(E2E − TTFT) / (completion tokens − 1); undefined below two tokens, and after an error."""
        return (self.e2e_s - self.ttft_s) / (self.completion_tokens - 1) if self.completion_tokens > 1 else None


class Client:
    """Asks a server; may be asked many times at once."""

    def __init__(self, http: httpx2.AsyncClient, url: str, *, timeout_s: float, key: str | None) -> None:
        """Use :func:`open_client`."""
        self._http = http
        self._url = url
        self._timeout_s = timeout_s
        self._key = key

    async def ask(self, body: bytes) -> Answer:
        """Send a request and follow its answer to the end. Whatever goes wrong on the way is the answer's error.

        Args:
            body: of the request, from :func:`body_of`.
        """
        reading = _Reading(perf_counter())
        kind, detail = "broken stream", "it ended without finish_reason or [DONE]"
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream("POST", self._url, content=body) as response,
            ):
                if response.status_code != httpx2.codes.OK:
                    kind = f"HTTP {response.status_code}"
                    detail = await _error_text(response)
                else:
                    async for event in httpx2.EventSource(response):
                        reading.take(event.data)
        except TimeoutError:
            kind, detail = "timeout", ""
        except _StreamError as error:
            kind, detail = error.kind, error.detail
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            kind, detail = "no connection", str(error)
        except httpx2.SSEError as error:
            detail = str(error)
        except (httpx2.TransportError, httpx2.DecodingError):
            detail = "the connection ended in the middle"
        return reading.answer() or Answer(error=kind, detail=one_line(detail, self._key))


@asynccontextmanager
async def open_client(
    url: str, *, clients: int, timeout_s: float, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[Client]:
    """A client of a server, with connections of its own.

    Args:
        url: of the server, or of its API: ``http://127.0.0.1:8501`` and ``http://127.0.0.1:8501/v1`` are the same.
        clients: connections at most.
        timeout_s: of a request, from sending to its end.
        environ: where the key is.

    Raises:
        InvalidRequestError: the address is none, or holds a password; the key cannot be sent.
    """
    endpoint, key = endpoint_of(url, KEY_VARIABLES[0]), key_from(KEY_VARIABLES, environ)
    headers = {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    limits = httpx2.Limits(
        max_connections=clients, max_keepalive_connections=clients, keepalive_expiry=_IDLE_CONNECTION_S
    )
    async with httpx2.AsyncClient(headers=headers, limits=limits, timeout=None) as http:
        yield Client(http, endpoint, timeout_s=timeout_s, key=key)


def body_of(
    *, model: str, messages: Any, max_tokens: int, session: str | None = None, more: Mapping[str, Any] | None = None
) -> bytes:
    """A greedy, streamed request whose last chunk tells the usage.

    Args:
        model: as the server calls it.
        messages: as the API takes them.
        max_tokens: of the answer.
        session: sent as ``user``.
        more: fields that are added, or take the place of these.
    """
    body = {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **({"user": session} if session else {}),
        **(more or {}),
    }
    return json.dumps(body).encode()


class _StreamError(Exception):
    """The stream says that something went wrong, or is none."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class _Reading:
    """A stream as far as it has been read."""

    def __init__(self, sent: float) -> None:
        self._sent = sent
        self._first: float | None = None
        self._last_text: float | None = None
        self._end: float | None = None
        self._gaps_s = array("d")
        self._pieces = 0
        self._usage: Mapping[str, Any] = {}
        self._done = False

    def take(self, data: str) -> None:
        """Read a chunk.

        Raises:
            _StreamError: it is no chunk, or tells an error.
        """
        now = perf_counter()
        if data.strip() == "[DONE]":
            self._done = True
            return
        try:
            chunk = parse_json(data)
        except ValueError as error:
            raise _StreamError("broken stream", f"a chunk is no JSON ({error})") from None
        if not isinstance(chunk, dict):
            raise _StreamError("broken stream", "a chunk is no JSON object")
        if chunk.get("error"):
            raise _StreamError("error in stream", error_message(chunk))
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = usage
        match chunk.get("choices"):
            case [{**choice}, *_]:
                self._take_choice(choice, now)

    def answer(self) -> Answer | None:
        """The answer, if it ended properly: with a reason, and the mark of the stream's end."""
        if not self._done or self._end is None:
            return None
        counted = _count(self._usage.get("completion_tokens"))
        details = self._usage.get("prompt_tokens_details")
        return Answer(
            ttft_s=(self._end if self._first is None else self._first) - self._sent,
            e2e_s=self._end - self._sent,
            gaps_s=self._gaps_s,
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
            completion_tokens=self._pieces if counted is None else counted,
            counted=counted is not None,
        )

    def _take_choice(self, choice: Mapping[Any, Any], now: float) -> None:
        delta = choice.get("delta")
        texts = (delta.get("content"), delta.get("reasoning_content")) if isinstance(delta, dict) else ()
        if any(isinstance(text, str) and text for text in texts):
            self._pieces += 1
            if self._last_text is None:
                self._first = now
            else:
                self._gaps_s.append(now - self._last_text)
            self._last_text = now
        reason = choice.get("finish_reason")
        if reason in _UNFINISHED:
            raise _StreamError("error in stream", f"it was ended with finish_reason {reason}")
        if reason:
            self._end = now


async def _error_text(response: httpx2.Response) -> str:
    """What a server says of an error, OpenAI's message if it is in that shape."""
    read = b""
    async for part in response.aiter_bytes():
        read += part
        if len(read) >= _MOST_READ:
            break
    text = read[:_MOST_READ].decode("utf-8", "replace")
    try:
        return error_message(parse_json(text))
    except ValueError:
        return text


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
