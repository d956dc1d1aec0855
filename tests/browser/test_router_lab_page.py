"""The Router lab as people use it: from a file of their own to a threshold in use, and a threshold moved by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import Locator, Page, expect

from app.store import RunStore
from tests.support.browsing import settle
from tests.support.server import Server

pytestmark = pytest.mark.browser

SMALL, LARGE = "smollm2-135m@int4", "qwen2.5-coder-0.5b@int4"
RECORDED_MS = 240_000
MOST_CLICKS = 12

PROMPTS = "question,answer\n" + "".join(
    f"What is {n} + {n + 1}? Answer with the number only.,{2 * n + 1}\n" for n in range(2, 32)
)


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=re.compile(label)).click()
    page.get_by_role("option", name=option, exact=True).click()
    settle(page)


def metric(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")


@pytest.mark.slow
def test_a_file_of_thirty_prompts_becomes_a_threshold_in_use_within_twelve_clicks(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page, clicks = new_page(), 0

    def click(target: Locator) -> None:
        nonlocal clicks
        target.click()
        clicks += 1
        settle(page)

    def button(name: str) -> Locator:
        return page.get_by_role("button", name=re.compile(name)).first

    page.goto(server.url)
    click(page.get_by_role("link", name="Router lab"))
    click(button("Bring prompts"))
    upload = {"name": "sums.csv", "mimeType": "text/csv", "buffer": PROMPTS.encode()}
    page.locator("input[type=file]").set_input_files(upload)
    clicks += 1
    click(button("Keep 30 prompts"))
    expect(page.get_by_text("“sums” is kept")).to_be_visible()
    click(button("Next: record"))
    click(page.get_by_role("button", name="Record", exact=True))
    expect(button("Next: choose")).to_be_visible(timeout=RECORDED_MS)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0, timeout=RECORDED_MS)
    settle(page)
    click(button("Next: choose"))
    expect(page.get_by_text(re.compile("Not shown yet|always use|pays"))).not_to_have_count(0)
    click(button("Use this threshold"))
    expect(page.get_by_text("from “sums”")).to_be_visible()
    click(button("Use in Playground"))
    expect(page.get_by_text("Lane B goes by the router profile “sums” version 1")).to_be_visible()
    assert clicks <= MOST_CLICKS
    kept = next(kept for kept in store.router.profiles() if kept.profile.name == "sums")
    assert kept.active
    assert kept.ladder == f"{SMALL} → {LARGE}"


@pytest.mark.slow
def test_a_threshold_is_moved_by_hand_and_kept(server: Server, store: RunStore, new_page: Callable[[], Page]) -> None:
    page = new_page()
    page.goto(f"{server.url}/router-lab?step=choose&router-section=Threshold")
    expect(page.get_by_role("heading", name="Router lab")).to_be_visible()
    choose(page, "^Small", SMALL)
    choose(page, "^Large", LARGE)
    expect(page.get_by_text(re.compile(r"→ .* · \d+ prompts"))).to_be_visible()

    sent = metric(page, "Sent to the large model")
    assert sent.inner_text() != "100 %"
    for _ in range(5):
        page.get_by_role("slider").press("Home")  # a threshold of 0 sends everything up
        with suppress(AssertionError):
            expect(sent).to_have_text("100 %", timeout=5_000)
            break
    expect(sent).to_have_text("100 %")
    expect(page.get_by_role("heading", name=re.compile("Changed sides between"))).to_be_visible()
    expect(page).to_have_url(re.compile("threshold=0.000"))

    page.get_by_role("button", name="4 · Use").click()
    settle(page)
    expect(page.get_by_text("Set by hand")).to_be_visible()
    page.get_by_role("textbox", name="Name").fill("Careful")
    page.get_by_role("textbox", name="Name").press("Enter")
    settle(page)
    page.get_by_role("button", name="Save only").click()
    settle(page)
    kept = next(kept for kept in store.router.profiles() if kept.profile.name == "Careful")
    assert not kept.active
