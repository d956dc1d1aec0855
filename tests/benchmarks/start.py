"""How long a start takes until the first token, and what an app takes that nobody has asked anything of.

Every start is a process of its own, and none is the first: the kernels are built, the weights packed, the files in the
page cache. A start of the command line counts from the process to the first character that it writes. The app is
served as ``gearbox run`` does it, and answers one request that is sent as soon as it is healthy; its memory is the
resident memory of the process that serves, as it stands some seconds after a start, and after a browser has opened
the first page.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep

import psutil
from playwright.sync_api import sync_playwright

from app.session.configuration import DEFAULT_CONFIG
from app.settings import REPOSITORY
from engine.types import Precision
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread
from tests.support.browsing import settle
from tests.support.server import CHROMIUM_FLAGS, GEARBOX, Server, find_chromium

MODEL = DEFAULT_CONFIG.model
"""The API asks it in the default's precision too."""
PROMPT = "Name three rivers."
REPEATS = 5
SETTLED_S = 5.0
"""After which a start, and a page that was opened, have nothing left to do."""
MIB = 2**20


def run(models_dir: Path) -> list[Row]:
    """Start the command line and the app several times.

    Raises:
        RuntimeError: there is no Chromium, or a start failed.
    """
    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("This benchmark needs a Chromium on the path.")
    rows = [_command_line(models_dir, precision) for precision in (Precision.INT4, Precision.BF16)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(models_dir, target_is_directory=True)
        return [*rows, _app(Path(folder)), *_memory(Path(folder), chromium)]


def _command_line(models_dir: Path, precision: Precision) -> Row:
    """``gearbox generate``."""
    arguments = ["--model", MODEL, "--quantization", precision, "--prompt", PROMPT, "--max-tokens", "8"]
    environment = os.environ | {"GEARBOX_DATA_DIR": str(models_dir.parent)}

    def first_token_s() -> float:
        begun = perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", GEARBOX, "generate", *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout
            first = process.stdout.read(1)
            taken = perf_counter() - begun
            process.stdout.read()
        if not first:
            raise RuntimeError("gearbox generate wrote nothing")
        return taken

    return _row(f"command line, {precision}: first token", first_token_s)


def _app(data_dir: Path) -> Row:
    """``gearbox run``, and a request as soon as it is healthy."""

    def first_token_s() -> float:
        begun = perf_counter()
        with _served(data_dir) as server:
            _first_token(server.url)
            return perf_counter() - begun

    return _row(f"app, {DEFAULT_CONFIG.precision}: first token", first_token_s)


def _memory(data_dir: Path, chromium: str) -> Iterator[Row]:
    """The served process, which has been asked for nothing, then for a page, then for an answer."""
    with _served(data_dir) as server, sync_playwright() as playwright:
        yield _resident("app: after the start", server)
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        page = browser.new_page()
        page.goto(server.url)
        page.get_by_role("heading", name="Playground").wait_for()
        settle(page)
        yield _resident("app: the first page has been opened", server)
        _first_token(server.url)
        yield _resident(f"app: {MODEL} has answered in {DEFAULT_CONFIG.precision}", server)
        browser.close()


@contextmanager
def _served(data_dir: Path) -> Iterator[Server]:
    server = Server(data_dir)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _first_token(url: str) -> None:
    """Ask the API, and read up to the first text of the answer."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "stream": True}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            data = line.removeprefix(b"data: ").strip()
            if data.startswith(b"{") and any(choice["delta"].get("content") for choice in json.loads(data)["choices"]):
                return
    raise RuntimeError("the answer has no text")


def _resident(what: str, server: Server) -> Row:
    sleep(SETTLED_S)
    process = psutil.Process(server.pid)
    children = sum(child.memory_info().rss for child in process.children(recursive=True))
    return {
        "what": what,
        "rss_mib": process.memory_info().rss / MIB,
        "of_its_own_mib": process.memory_full_info().uss / MIB,
        "helpers_mib": children / MIB,
    }


def _row(what: str, first_token_s: Callable[[], float]) -> Row:
    """Several starts, after one that does not count."""
    first_token_s()
    times = [first_token_s() for _ in range(REPEATS)]
    return {"what": what, "median_s": statistics.median(times), "spread": spread(times), "most_s": max(times)}
