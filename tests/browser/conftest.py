"""The real app in a server of its own, driven by the system's Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from app.store import RunStore
from tests.support.server import CHROMIUM_FLAGS, CHROMIUM_NAMES, Server, find_chromium

_PAGE_MS = 60_000
expect.set_options(timeout=_PAGE_MS)
UNWATCHED_S = 10
"""How long the servers go on with what nobody looks at: longer than a reload takes, and no test's whole time."""

MakeServer = Callable[..., Server]
"""Takes what is added to the command line, and the environment's variables."""


@pytest.fixture(scope="session")
def make_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Start servers, each on a new data folder that shares the installed models."""
    servers: list[Server] = []

    def make(*options: str, **variables: str) -> Server:
        data_dir = tmp_path_factory.mktemp("data")
        (data_dir / "models").symlink_to(models_dir, target_is_directory=True)
        servers.append(Server(data_dir))
        servers[-1].start(*options, **{"GEARBOX_UNWATCHED_S": str(UNWATCHED_S)} | variables)
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(make_server: MakeServer) -> Server:
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
    if path := find_chromium():
        return path
    reason = f"no Chromium on the path (looked for {', '.join(CHROMIUM_NAMES)})"
    if os.environ.get("GEARBOX_REQUIRE_BROWSER") == "1":
        pytest.fail(f"GEARBOX_REQUIRE_BROWSER=1, but there is {reason}.")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Open pages, each a browser session of its own. None of them may ask for what the server forbids a page."""
    contexts: list[BrowserContext] = []
    forbidden: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            forbidden.append(message.text)

    def make() -> Page:
        contexts.append(browser.new_context(viewport={"width": 1440, "height": 1400}))
        page = contexts[-1].new_page()
        page.set_default_timeout(_PAGE_MS)
        page.on("console", listen)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not forbidden
