"""A server at the level of bytes: it sends what a test says, when it says, and closes as it says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

Script = Callable[[str], Iterator[bytes]]
"""The bytes to send, given the request's head and body; they are sent one after the other, each by itself."""

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class MisbehavingServer:
    """Plays a script for each connection, on a free port of this machine as long as it is entered."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[str] = []
        """Head and body of each."""
        self.hung_up = threading.Event()
        """Set once a client has closed a connection while it was written to."""
        self.url = ""
        """Root of its API, once it listens."""
        self._socket: socket.socket | None = None
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # else whoever waits for a connection goes on waiting
            self._socket.close()
        for thread in self._threads[1:]:
            thread.join(5)

    def listen(self, port: int = 0) -> None:
        """From now on."""
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self._begin(self._accept)

    def is_over(self, seconds: float) -> bool:
        """For a script: wait so long, and whether the test has ended meanwhile."""
        return self._closed.wait(seconds)

    def _begin(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while self._socket and not self._closed.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._begin(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            request = _read_request(connection)
            self.requests.append(request)
            try:
                for part in self.script(request):
                    if self._closed.is_set():
                        return
                    connection.sendall(part)
            except OSError:
                self.hung_up.set()


def stream(*chunks: Any, head: bytes = STREAM_HEAD, done: bool = True) -> Script:
    """A script of a stream: each chunk as JSON, a string or bytes as they are."""

    def script(_: str) -> Iterator[bytes]:
        yield head
        for chunk in chunks:
            yield as_event(chunk)
        if done:
            yield as_event("[DONE]")

    return script


def whole(status: str, body: Any = "", **headers: str) -> Script:
    """A script of an answer that is no stream."""
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    head = {"content-type": "application/json", "content-length": str(len(data)), "connection": "close"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }

    def script(_: str) -> Iterator[bytes]:
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in head.items())]
        yield "\r\n".join([*lines, "", ""]).encode() + data

    return script


def as_event(chunk: Any) -> bytes:
    """A chunk as it stands in a stream."""
    if isinstance(chunk, bytes):
        return chunk
    data = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
    return f"data: {data}\n\n".encode()


def says(text: str, **more: Any) -> Mapping[str, Any]:
    """A chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **more}]}


def ends(reason: str = "stop", **more: Any) -> Mapping[str, Any]:
    """The chunk that says why it ended."""
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], **more}


def counts(prompt: int = 10, completion: int = 3, **more: Any) -> Mapping[str, Any]:
    """The chunk that counts."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, **more}
    return {"choices": [], "usage": usage}


_CLIENT_HELLO = b"\x16\x03"


def _read_request(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data.decode("utf-8", "replace")
        data += part
        if data.startswith(_CLIENT_HELLO):
            return "TLS"
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            break
        body += part
    return (head + b"\r\n\r\n" + body).decode("utf-8", "replace")
