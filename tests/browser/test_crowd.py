"""Many clients at the API of the real server while somebody looks at its pages."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Self

import psutil
import pytest
from playwright.sync_api import Page

from app.store import RunStore
from tests.browser.conftest import MakeServer
from tests.support.crowd import Crowd, check_the_store

CLIENTS, SECONDS = 20, 300
FEW, SHORT_S = 4, 10
PAINT_S = 2.0
"""19 times out of 20 a page's title stands there so soon after the click on the menu: whatever else runs on the machine
can hold a browser up once."""
GROWTH_BYTES = 64 * 2**20
"""Of the server's memory, from a fifth of the time on to its end."""
KV_CACHE_MIB = 64
"""Kept prefixes fill this within a fifth of the time."""
PAGES = ("Playground", "Runs", "Operations")
_BETWEEN_S = 1.0

Record = Callable[[str, object], None]


@pytest.mark.slow
def test_a_few_clients_lose_and_double_nothing(make_server: MakeServer, record_property: Record) -> None:
    server = make_server()
    with Crowd(server.url, FEW) as crowd:
        time.sleep(SHORT_S)
    store = RunStore.open(server.database_url)
    assert not crowd.errors
    counted = check_the_store(crowd.calls, store)
    store.close()
    record_property("crowd", counted)
    assert counted["finished"]


@pytest.mark.full
@pytest.mark.browser
@pytest.mark.timeout(3 * SECONDS)
def test_twenty_clients_for_minutes_lose_nothing_take_no_more_memory_and_let_pages_paint(
    make_server: MakeServer, new_page: Callable[[], Page], record_property: Record
) -> None:
    server, page = make_server(GEARBOX_KV_CACHE_MIB=str(KV_CACHE_MIB)), new_page()
    page.goto(server.url)
    for name in (*PAGES, *PAGES):  # their modules are read once
        paint_s(page, name)
    with Crowd(server.url, 1, "first") as first:  # nor is the model loaded again
        time.sleep(1)
    paints: list[tuple[float, str]] = []
    begun = time.monotonic()
    with Memory(server.pid) as memory, Crowd(server.url, CLIENTS) as crowd:
        while time.monotonic() - begun < SECONDS:
            name = PAGES[len(paints) % len(PAGES)]
            paints.append((paint_s(page, name), name))
            page.wait_for_timeout(1000 * _BETWEEN_S)
        first_paint_s = opened_s(new_page(), server.url)
    store = RunStore.open(server.database_url)
    counted: dict[str, object] = {**check_the_store([*first.calls, *crowd.calls], store)}
    store.close()
    warm, end = memory.median(SECONDS / 5, 2 * SECONDS / 5), memory.median(4 * SECONDS / 5, SECONDS)
    counted["memory after a fifth and at the end, MiB"] = (round(warm / 2**20), round(end / 2**20))
    counted["pages shown"] = len(paints)
    paint_p95_s = statistics.quantiles([paint for paint, _ in paints], n=20)[-1]
    counted["median and p95 paint, s"] = (
        round(statistics.median(paint for paint, _ in paints), 2),
        round(paint_p95_s, 2),
    )
    counted["longest paint, s"] = (round(max(paints)[0], 2), max(paints)[1])
    counted["first paint in a new browser, s"] = first_paint_s
    record_property("crowd", counted)
    assert not [*first.errors, *crowd.errors]
    assert end - warm <= GROWTH_BYTES
    assert paint_p95_s <= PAINT_S


class Memory:
    """What a process takes, looked at every half second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._seen: list[tuple[float, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        begun = time.monotonic()
        while not self._over.wait(0.5):
            self._seen.append((time.monotonic() - begun, self._process.memory_info().rss))

    def median(self, since_s: float, until_s: float) -> float:
        """Bytes, of the time between."""
        return statistics.median(rss for at_s, rss in self._seen if since_s <= at_s < until_s)


def opened_s(page: Page, url: str) -> float:
    """Open the app in a browser that has never seen it; the seconds until its first title stands there."""
    begun = time.monotonic()
    page.goto(url, wait_until="commit")
    page.get_by_test_id("stMain").get_by_role("heading", name=PAGES[0], exact=True).wait_for()
    return round(time.monotonic() - begun, 2)


def paint_s(page: Page, name: str) -> float:
    """Go to a page by the menu; the seconds until its title stands there."""
    menu, main = page.get_by_test_id("stSidebarNav"), page.get_by_test_id("stMain")
    begun = time.monotonic()
    menu.get_by_role("link", name=name, exact=True).click()
    main.get_by_role("heading", name=name, exact=True).wait_for()
    return time.monotonic() - begun
