"""A model hub on this machine: it lists, tells of models and gives files, or does it badly as networks do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import constants

REVISION = "0123456789abcdef0123456789abcdef01234567"
_LARGE = (".safetensors", ".gguf")


@dataclass
class Repository:
    """What the hub has under an id."""

    files: dict[str, bytes]
    told: dict[str, Any] = field(default_factory=dict)
    """Further fields of what is told of it: config, gguf, tags, downloads."""
    gated: bool = False
    """Whether files need a token."""

    @classmethod
    def of_folder(cls, folder: Path, **told: Any) -> Repository:
        """A checkpoint."""
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        return cls(files, {"config": json.loads(files["config.json"]), **told})


@dataclass
class FakeHub:
    """What it has, how it behaves, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    status: int = 200
    """Any other one answers everything."""
    page: bytes | None = None
    """A page of HTML that answers everything, as a proxy's does."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the connection of the next answers with a large file is cut."""
    holds_after: int | None = None
    """After how many bytes of a large file it waits for `go_on`."""
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    has_ranges: bool = True
    altered: bool = False
    """Whether the last byte of a large file is another one on its way."""
    lets_in: str = "hf_right"
    """The token of somebody who accepted the terms."""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths, each with the range wanted."""
    url: str = ""

    def ranges_of(self, name: str) -> list[str | None]:
        """What was wanted of a file, each time that it was."""
        return [range for path, range in self.asked if path.endswith(f"/{name}")]


@contextmanager
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """One that runs meanwhile, and is asked instead of the real one."""
    hub = FakeHub()

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: FakeHub

    def do_GET(self) -> None:
        hub, parts = self.served, urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        hub.asked.append((path, self.headers.get("Range")))
        if hub.page is not None:
            self._send(200, hub.page, {"Content-Type": "text/html"})
        elif hub.status != 200:
            self._send(hub.status, b"{}")
        elif path == "/api/models":
            words = query.get("search", [""])[0].lower()
            found = [self._told(name) for name in hub.repositories if words in name.lower()]
            self._send(200, json.dumps(found).encode())
        elif path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/")
            if name in hub.repositories:
                self._send(200, json.dumps(self._told(name, blobs="blobs" in query)).encode())
            else:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        else:
            self._file(path)

    def _told(self, name: str, *, blobs: bool = False) -> Mapping[str, Any]:
        repository = self.served.repositories[name]
        siblings = [
            {"rfilename": file} | (_blob(file, content) if blobs else {}) for file, content in repository.files.items()
        ]
        gated = "auto" if repository.gated else False
        return {"id": name, "sha": REVISION, "gated": gated, "siblings": siblings, **repository.told}

    def _file(self, path: str) -> None:
        hub = self.served
        name, _, rest = path.strip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        repository = hub.repositories.get(name)
        if repository is None or revision != REVISION:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif file not in repository.files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        elif repository.gated and self.headers.get("Authorization") != f"Bearer {hub.lets_in}":
            status = 403 if self.headers.get("Authorization") else 401
            self._send(status, b"{}", {"X-Error-Code": "GatedRepo"})
        else:
            self._stream(file, repository.files[file])

    def _stream(self, file: str, content: bytes) -> None:
        hub, wanted, is_large = self.served, self.headers.get("Range"), file.endswith(_LARGE)
        if is_large and hub.altered:
            content = content[:-1] + bytes([content[-1] ^ 1])
        begin, end = 0, len(content)
        if wanted and hub.has_ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(len(content), int(last) + 1) if last else len(content)
        part = content[begin:end]
        self.send_response(206 if wanted and hub.has_ranges else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        whole = not wanted or wanted.endswith("-")  # a look at a head is not what is cut or held
        if is_large and whole and hub.cuts:
            self.wfile.write(part[: hub.cuts.pop(0)])
            self.close_connection = True
        elif is_large and whole and hub.holds_after is not None:
            self.wfile.write(part[: hub.holds_after])
            self.wfile.flush()
            hub.held.set()
            hub.go_on.wait(30)
            self._rest(part[hub.holds_after :])
        else:
            self._rest(part)

    def _rest(self, content: bytes) -> None:
        try:
            self.wfile.write(content)
        except OSError:  # who asked is gone
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self._rest(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _blob(file: str, content: bytes) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        "size": len(content),
        "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest(),
    }
    if file.endswith(_LARGE):
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found
