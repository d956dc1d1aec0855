"""Many clients at the API of the real server while somebody looks at its pages."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import psutil
import pytest
from playwright.sync_api import Page

from app.store import RunStore
from tests.browser.conftest import MakeServer
from tests.support.crowd import Crowd, check_the_store

CLIENTS, SECONDS = 20, 300
FEW, SHORT_S = 4, 10
PAINT_S = 2.0
"""A page's title stands there so soon after the click on the menu."""
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
    server = make_server(GEARBOX_KV_CACHE_MIB=str(KV_CACHE_MIB))
    process, page = psutil.Process(server.pid), new_page()
    page.goto(server.url)
    page.get_by_role("heading", name=PAGES[0], exact=True).wait_for()
    paints: list[float] = []
    memory: list[tuple[float, int]] = []
    begun = time.monotonic()
    with Crowd(server.url, CLIENTS) as crowd:
        while (at_s := time.monotonic() - begun) < SECONDS:
            memory.append((at_s, process.memory_info().rss))
            paints.append(paint_s(page, PAGES[(len(paints) + 1) % len(PAGES)]))
            page.wait_for_timeout(1000 * _BETWEEN_S)
    store = RunStore.open(server.database_url)
    counted: dict[str, object] = {**check_the_store(crowd.calls, store)}
    store.close()
    fifth = SECONDS / 5
    warm = statistics.median(rss for at_s, rss in memory if fifth <= at_s < 2 * fifth)
    end = statistics.median(rss for at_s, rss in memory if at_s >= 4 * fifth)
    counted["memory after a fifth and at the end, MiB"] = (round(warm / 2**20), round(end / 2**20))
    counted["pages shown"] = len(paints)
    counted["median and longest paint, s"] = (round(statistics.median(paints), 2), round(max(paints), 2))
    record_property("crowd", counted)
    assert not crowd.errors
    assert end - warm <= GROWTH_BYTES
    assert max(paints) <= PAINT_S


def paint_s(page: Page, name: str) -> float:
    """Go to a page by the menu; the seconds until its title stands there."""
    begun = time.monotonic()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    page.get_by_test_id("stMain").get_by_role("heading", name=name, exact=True).wait_for()
    return time.monotonic() - begun
