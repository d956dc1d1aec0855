"""The real app in a server of its own, driven by Debian's Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from app.settings import REPOSITORY
from app.store import RunStore

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_S = 60.0
_PAGE_MS = 60_000


class Server:
    """One ``streamlit run``, as ``make run`` does it, on a data folder. It can be killed and started again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.data_dir / 'gearbox.db'}"

    def start(self) -> None:
        """Serve on a free port, and return as soon as the server answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        environment = {name: value for name, value in os.environ.items() if name != "GEARBOX_DATABASE_URL"}
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app/server.py", "--server.port", str(port)],
                cwd=REPOSITORY,
                env=environment | {"GEARBOX_DATA_DIR": str(self.data_dir)},
                stdout=log,
                stderr=log,
            )
        self._wait_until_healthy()

    def kill(self) -> None:
        """As ``kill -9`` does: nothing gets to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(timeout=30)
            self._process = None

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, (self.data_dir / "server.log").read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        pytest.fail(f"The server did not answer within {_START_S:.0f} s.")


@pytest.fixture(scope="session")
def make_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Server]]:
    """Start servers, each on a new data folder that shares the installed models."""
    servers: list[Server] = []

    def make() -> Server:
        data_dir = tmp_path_factory.mktemp("data")
        (data_dir / "models").symlink_to(models_dir, target_is_directory=True)
        servers.append(Server(data_dir))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(make_server: Callable[[], Server]) -> Server:
    """The server that most tests share, so that weights are loaded once."""
    return make_server()


@pytest.fixture
def store(server: Server) -> Iterator[RunStore]:
    """The shared server's runs, read beside it."""
    store = RunStore.open(server.database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is. Without one the tests are skipped, unless they are required."""
    for name in _CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    reason = f"no Chromium on the path (looked for {', '.join(_CHROMIUM_NAMES)})"
    if os.environ.get("GEARBOX_REQUIRE_BROWSER") == "1":
        pytest.fail(f"GEARBOX_REQUIRE_BROWSER=1, but there is {reason}.")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Open pages, each a browser session of its own."""
    contexts: list[BrowserContext] = []

    def make() -> Page:
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 1400}))
        page = contexts[-1].new_page()
        page.set_default_timeout(_PAGE_MS)
        return page

    yield make
    for context in contexts:
        context.close()
