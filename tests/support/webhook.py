"""A webhook on this machine that takes what is posted to it, or does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Webhook:
    """What came, and how it answers."""

    status: int = 200
    hangs: threading.Event | None = None
    """It answers nothing until this is set."""
    came: list[dict[str, Any]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        """As Apprise writes it, with a secret in its path; it waits for an answer for a second at most."""
        return f"json://127.0.0.1:{self.port}/hook-secret-4711?rto=1&cto=1"


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that runs meanwhile."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.came.append(json.loads(body))
            hook.arrived.set()
            if hook.hangs is not None:
                hook.hangs.wait(30)
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        if hook.hangs is not None:
            hook.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join()
