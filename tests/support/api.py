"""The API for tests: in the test's own event loop, or on a port of its own."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from app.api.answering import Answering
from app.api.health import health_routes
from app.api.routes import api
from app.runs.metrics import Metrics
from app.store import RunStore

HELLO = [{"role": "user", "content": "Say hello."}]


@contextmanager
def serving(engine: Any, store: RunStore, models_dir: Path) -> Iterator[Starlette]:
    """The API as the server mounts it, without the doors."""
    answering = Answering(lambda: engine, lambda: store)
    metrics = Metrics(engine.status)
    store.observers.append(metrics.observe)
    routes = [
        Mount("/v1", api(models_dir, lambda: store, answering)),
        *health_routes(models_dir, lambda: engine, lambda: store, metrics),
    ]
    yield Starlette(routes=routes)
    answering.close()


@contextmanager
def listening(app: ASGIApp) -> Iterator[str]:
    """Serve on a free port; gives the address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)  # whoever comes before the server has started waits
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def chat(prompt: str = "Say hello.", **fields: Any) -> dict[str, Any]:
    """The body of a short greedy chat completion."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": "smollm2-135m", "messages": messages, "max_tokens": 12, "temperature": 0, **fields}


def events_of(lines: Sequence[str] | Iterator[str]) -> list[Any]:
    """What a stream of server-sent events carries: JSON, and its last word as a text."""
    found = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [text if text == "[DONE]" else json.loads(text) for text in found]


def said(events: Sequence[Any], place: int = 0) -> str:
    """The text that a chat's stream gave one of its answers."""
    choices = [choice for event in events[:-1] for choice in event["choices"] if choice["index"] == place]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def send(url: str, body: dict[str, Any]) -> socket.socket:
    """Ask, and read nothing."""
    host, port = urlsplit(url).netloc.split(":")
    connection = socket.create_connection((host, int(port)))
    text = json.dumps(body)
    connection.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
    )
    return connection
