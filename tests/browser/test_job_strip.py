"""The strip of running jobs as people meet it: on another page, on the way back, when it is over."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.server import Server

pytestmark = pytest.mark.browser

TITLE = "Measuring smollm2-135m on tasks"
DONE_MS = 150_000
"""Two models are loaded first, on a machine that may be busy."""


@pytest.mark.slow
def test_a_job_is_followed_from_another_page_led_back_to_and_told_to_be_done(
    make_server: Callable[[], Server], new_page: Callable[[], Page]
) -> None:
    page, server = new_page(), make_server()
    page.goto(f"{server.url}/quantization-lab?measure=On+tasks")
    page.get_by_role("radio", name=re.compile("^Quick · 14 tasks")).click()
    page.get_by_role("button", name="Measure").click()
    # on its own page it is followed in its place alone
    expect(page.get_by_role("button", name="Cancel")).to_have_count(1)
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    strip = page.get_by_test_id("stProgress")
    expect(strip).to_contain_text(TITLE)
    expect(strip).to_contain_text(re.compile(r"task \d+ of 14|Loading"), timeout=DONE_MS)
    page.get_by_role("link", name="Open").click()
    expect(page).to_have_url(re.compile(r"/quantization-lab\?.*measure=On(\+|%20)tasks"))
    expect(page.get_by_role("button", name="Cancel")).to_have_count(1)
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_text(f"{TITLE} is done.")).to_be_visible(timeout=DONE_MS)
    page.get_by_role("link", name="Look").click()
    expect(page.get_by_text("Quick: on 14 of 84 tasks.")).to_be_visible()
    page.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_text(f"{TITLE} is done.")).to_have_count(0)
    server.stop()
