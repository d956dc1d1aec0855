"""Prompts of one's own in the Router lab: brought, read, marked and forked with a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.store import RunStore
from tests.support.browsing import settle
from tests.support.cascade import answer
from tests.support.server import Server

pytestmark = pytest.mark.browser

SMALL, LARGE = "smollm2-135m@int4", "qwen2.5-coder-0.5b@int4"
FILE = """question;answer;topic
India is part of which continent?;Asia;Places
;Rome;Places
Who wrote Faust?;Goethe;Books
"""


def test_prompts_are_brought_read_marked_and_forked(
    server: Server, store: RunStore, new_page: Callable[[], Page], tmp_path: Path
) -> None:
    page = new_page()
    page.set_viewport_size({"width": 1400, "height": 2000})
    page.goto(f"{server.url}/router-lab?step=bring")
    (tmp_path / "places.csv").write_text(FILE)
    page.locator("input[type=file]").set_input_files(tmp_path / "places.csv")
    expect(page.get_by_text("Row 3 has no text in column “question”")).to_be_visible()
    page.get_by_role("button", name="Keep 2 prompts").click()
    expect(page.get_by_text(re.compile("“places” is kept: 2 prompts"))).to_be_visible()

    kept = next(kept for kept in store.router.sets() if kept.name == "places")
    for task in store.router.tasks(kept.sha256):
        for tier in (SMALL, LARGE):
            store.router.keep_answer(kept.sha256, task.id, tier, "w", answer(0.0, text="An Asian one."), {"cpu": "x"})
    page.get_by_role("button", name="Next: record").click()
    settle(page)
    page.reload()
    settle(page)
    page.get_by_text("Read the answers").click()
    settle(page)
    table = page.get_by_test_id("stDataFrame").last
    box = table.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 60, box["y"] + 50)  # the first row, below the names
    page.mouse.down()
    page.wait_for_timeout(80)
    page.mouse.up()
    expect(page.get_by_text("It does not say “Asia” as words of their own.").first).to_be_visible()
    page.get_by_role("button", name="Mark as right").last.click()
    expect(page.get_by_text(re.compile("Marked by you, .*Without the mark: ✗ wrong"))).to_be_visible()
    (mark,) = store.router.marks(kept.sha256)
    assert (mark.tier, mark.right) == (LARGE, True)

    page.get_by_role("button", name="Manage").click()
    page.get_by_role("menuitem", name="Fork").click()
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_role("textbox", name="Name").fill("Only books")
    dialog.get_by_role("textbox", name="Name").press("Tab")
    settle(page)
    dialog.get_by_role("combobox").first.click()
    page.get_by_role("option", name="Books").click()
    page.keyboard.press("Tab")
    settle(page)
    dialog.get_by_role("button", name="Fork", exact=True).click()
    expect(dialog).to_have_count(0)
    fork = next(each for each in store.router.sets() if each.name == "Only books")
    assert [task.category for task in store.router.tasks(fork.sha256)] == ["Books"]
    assert [tier.answers for tier in store.router.recorded(fork.sha256)] == [1, 1]
