"""What the screen takes from the engine: the same request on four paths, in turn.

``command_line``: a process with nothing but the engine in it. ``app``: through the app's service in a served page whose
reader draws nothing. ``browser``: lane B of the Playground, in a browser on the same processors. ``one_thread`` and
``busy_thread``: the engine on one thread, alone in its process and beside a thread that never stops counting.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from app.settings import REPOSITORY
from app.store import RunStore
from tests.benchmarks.screen.engine_alone import EngineAlone
from tests.benchmarks.screen.request import PROMPT, Times, times_of
from tests.benchmarks.table import Row
from tests.benchmarks.timing import spread
from tests.support.server import CHROMIUM_FLAGS, Server, find_chromium

ROUNDS = 10
PATIENCE_MS = 300_000
SETTLED_S = 2.0
"""A browser that has just drawn a page is still at work for a while."""
READER = REPOSITORY / "tests" / "benchmarks" / "screen" / "reader_page.py"
BASELINES = {"app": "command_line", "browser": "command_line", "busy_thread": "one_thread"}
"""What each path's ``ratio`` is against: its TPOT over that one's, medians."""


def run(models_dir: Path) -> list[Row]:
    """Ask on every path in turn, a few rounds.

    Raises:
        RuntimeError: there is no Chromium.
    """
    with ExitStack() as open_things:
        alone = open_things.enter_context(EngineAlone(models_dir))
        on_one_thread = open_things.enter_context(EngineAlone(models_dir, threads=1))
        browser = open_things.enter_context(_chromium())
        reader = open_things.enter_context(_served(browser, models_dir, READER))
        playground = open_things.enter_context(_served(browser, models_dir))
        paths: dict[str, Callable[[], Times]] = {
            "command_line": alone.ask,
            "app": lambda: _read_page(reader),
            "browser": lambda: _race(playground),
            "one_thread": on_one_thread.ask,
            "busy_thread": lambda: on_one_thread.ask(busy=True),
        }
        times: dict[str, list[Times]] = {path: [] for path in paths}
        for number in range(1 + ROUNDS):
            for path in _rotated(list(paths), number):
                time.sleep(SETTLED_S)
                measured = paths[path]()
                if number:  # the first round loads
                    times[path].append(measured)
    return list(_rows(times))


def _rotated(paths: Sequence[str], by: int) -> list[str]:
    """So that no path always runs after the same other one."""
    first = by % len(paths)
    return [*paths[first:], *paths[:first]]


def _rows(times: Mapping[str, Sequence[Times]]) -> Iterator[Row]:
    tpot_s = {path: statistics.median(run.tpot_s for run in _kept(path, runs)) for path, runs in times.items()}
    for path, runs in times.items():
        kept = _kept(path, runs)
        baseline = BASELINES.get(path)
        yield {
            "path": path,
            "ttft_s": statistics.median(run.ttft_s for run in kept),
            "tpot_s": tpot_s[path],
            "spread": spread([run.tpot_s for run in kept]),
            "ratio": tpot_s[path] / tpot_s[baseline] if baseline else 1.0,
            "against": baseline,
            "slowest_tpot_s": max(run.tpot_s for run in kept),
            "most_waited": max(run.waited for run in runs),
            "disturbed_runs": sum(run.disturbed for run in runs),
        }


def _kept(path: str, runs: Sequence[Times]) -> Sequence[Times]:
    """Those that nothing disturbed but what the path is there for; all, where there is no other."""
    if path == "busy_thread":
        return runs
    return [run for run in runs if not run.disturbed] or runs


class _Served:
    """A server on an empty store, and a page of a browser that stays on it."""

    def __init__(self, server: Server, page: Page) -> None:
        self.server = server
        self.page = page


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        raise RuntimeError("This benchmark needs a Chromium on the path.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _served(browser: Browser, models_dir: Path, script: Path | None = None) -> Iterator[_Served]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "models").symlink_to(models_dir.resolve(), target_is_directory=True)
        server = Server(Path(folder))
        server.start(script=script, PYTHONPATH=str(REPOSITORY))
        try:
            yield _Served(server, browser.new_context().new_page())
        finally:
            server.stop()


def _read_page(reader: _Served) -> Times:
    page = reader.page
    if page.url == "about:blank":
        page.goto(reader.server.url)
        page.get_by_role("button", name="Ask").wait_for(timeout=PATIENCE_MS)
        page.wait_for_timeout(1_000 * SETTLED_S)
    shown = page.get_by_test_id("stCode")
    before = json.loads(shown.inner_text())[0] if shown.count() else 0
    page.get_by_role("button", name="Ask").click()
    page.get_by_text(f"[{before + 1}, ").wait_for(timeout=PATIENCE_MS)
    _, *times = json.loads(shown.inner_text())
    return Times(*times)


def _race(playground: _Served) -> Times:
    page = playground.page
    if page.url == "about:blank":
        page.goto(playground.server.url)
        page.get_by_label("Prompt", exact=True).fill(PROMPT)
    compare = page.get_by_role("link", name="Compare the two runs")
    page.get_by_role("button", name="Run both lanes").click()
    compare.wait_for(state="hidden", timeout=PATIENCE_MS)
    compare.wait_for(timeout=PATIENCE_MS)
    store = RunStore.open(playground.server.database_url)
    latest = store.page(limit=1).rows[0]
    store.close()
    return times_of(latest)
