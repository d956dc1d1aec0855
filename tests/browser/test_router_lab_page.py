"""The Router lab as people use it: a threshold moved, picked, saved, put in use, and answered by in the playground."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import Locator, Page, expect

from app.store import RunStore
from tests.support.server import Server

pytestmark = pytest.mark.browser

SMALL, LARGE = "smollm2-135m@int4", "qwen2.5-coder-0.5b@int4"
RESULT_MS = 150_000


def settle(page: Page) -> None:
    """Wait until the page's script is at rest: what is pressed before that can be lost."""
    page.wait_for_timeout(300)
    expect(page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')).to_be_visible()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).click()
    page.get_by_role("option", name=option, exact=True).click()
    settle(page)


def metric(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


@pytest.mark.slow
def test_a_threshold_is_moved_picked_saved_and_used(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/router-lab")
    expect(page.get_by_role("heading", name="Router lab")).to_be_visible()
    choose(page, "^Small", SMALL)
    choose(page, "^Large", LARGE)
    expect(page.get_by_text(re.compile(r"\d+ prompts report"))).to_be_visible()

    sent = metric(page, "Sent to the large model")
    assert sent.inner_text() != "100 %"
    for _ in range(5):
        page.get_by_role("slider").press("Home")  # a threshold of 0 sends everything up
        with suppress(AssertionError):
            expect(sent).to_have_text("100 %", timeout=5_000)
            break
    expect(sent).to_have_text("100 %")
    expect(page.get_by_role("heading", name=re.compile("Changed sides between"))).to_be_visible()

    page.get_by_role("radio", name="Pick for me").click()
    settle(page)
    page.get_by_role("button", name=re.compile("Use this threshold")).click()
    settle(page)
    page.get_by_role("radio", name="Threshold", exact=True).click()
    expect(sent).not_to_have_text("100 %")

    page.get_by_role("radio", name="Profiles").click()
    settle(page)
    page.get_by_role("button", name=re.compile("Save Escalate at")).click()
    page.get_by_role("textbox", name="Name").fill("Careful")
    page.get_by_role("button", name="Save", exact=True).click()
    use = page.get_by_role("button", name="Use", exact=True)
    use.click()
    expect(use).to_be_disabled()
    (kept,) = store.router.profiles()
    assert kept.active
    assert kept.profile.name == "Careful"
