"""What a person waits for when no generation is asked for: the first paint, and a toggle's answer.

No model is loaded. The first paint is a new browser session's, from the request to the page's title;
a toggle's answer is from the click until Streamlit says that the script has run.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread
from tests.support.server import CHROMIUM_FLAGS, Server, find_chromium

REPEATS = 7
IDLE = "() => document.querySelector('[data-testid=\"stApp\"]').dataset.testScriptState === 'notRunning'"
BUSY = IDLE.replace("===", "!==")


def run(models_dir: Path) -> list[Row]:
    """Serve the app on an empty store and drive it with Chromium.

    Raises:
        RuntimeError: there is no Chromium.
    """
    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("This benchmark needs a Chromium on the path.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        (Path(folder) / "models").symlink_to(models_dir, target_is_directory=True)
        server = Server(Path(folder))
        server.start()
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_FLAGS))
        try:
            paints = [_first_paint_s(browser, server.url) for _ in range(REPEATS)]
            toggles = _toggle_s(browser, server.url)
        finally:
            browser.close()
            server.stop()
    return [
        _row("first paint, fresh server", paints[:1]),
        _row("first paint", paints[1:]),
        _row("toggle a gear", toggles),
    ]


def _row(operation: str, times: Sequence[float]) -> Row:
    return {
        "operation": operation,
        "median_s": statistics.median(times),
        "spread": spread(times),
        "worst_s": max(times),
    }


def _first_paint_s(browser: Browser, url: str) -> float:
    with browser.new_context() as context:
        page = context.new_page()
        begun = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.get_by_role("heading", name="Playground").wait_for()
        return time.perf_counter() - begun


def _toggle_s(browser: Browser, url: str) -> list[float]:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(IDLE)
        page.wait_for_timeout(1000)
        gear = page.locator(".st-key-lane-b-quantization label")  # lane A has no gears
        return [_answer_s(page, gear.click) for _ in range(REPEATS)]


def _answer_s(page: Page, act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    page.wait_for_function(BUSY, polling=5)
    page.wait_for_function(IDLE, polling=5)
    return time.perf_counter() - begun
