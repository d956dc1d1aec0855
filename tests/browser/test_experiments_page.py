"""The Experiments page as a person uses it: from a blank page to a verdict, its report and a replay."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from app.store import ExperimentState, RunStore
from tests.support.browsing import settle
from tests.support.server import Server

pytestmark = pytest.mark.browser

MEASURED_MS = 180_000
PROMPTS = "question,answer,max_tokens\n" + "".join(f"What is {n} + 1?,{n + 1},4\n" for n in range(1, 5))


def test_from_a_blank_page_to_a_verdict(
    server: Server, store: RunStore, new_page: Callable[[], Page], tmp_path: Path
) -> None:
    page = new_page()

    def click(target: Locator) -> None:
        target.click()
        settle(page)

    page.goto(server.url)
    click(page.get_by_role("link", name="Experiments"))
    expect(page.get_by_text(re.compile("No experiments yet"))).to_be_visible()
    click(page.get_by_role("button", name="Bring prompts"))
    upload = {"name": "tiny.csv", "mimeType": "text/csv", "buffer": PROMPTS.encode()}
    page.get_by_role("dialog").locator("input[type=file]").set_input_files(upload)
    expect(page.get_by_role("dialog").get_by_text("Checked by")).to_be_visible()
    click(page.get_by_role("button", name=re.compile("Keep 4 prompts")))
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("“tiny” is kept: 4 prompts")).to_be_visible()
    click(page.get_by_role("button", name="Start", exact=True))
    expect(page.get_by_text(re.compile("Done · begun"))).to_be_visible(timeout=MEASURED_MS)
    settle(page)
    expect(page.get_by_text(re.compile("What would change it:"))).to_be_visible()
    expect(page.get_by_text(re.compile("4 prompts are few"))).to_be_visible()
    (kept,) = store.experiments.all()
    assert (kept.state, kept.prompts, kept.cells, kept.failed) == (ExperimentState.DONE, 4, 16, 0)
    expect(page).to_have_url(re.compile(f"experiment={kept.id}"))

    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    report = tmp_path / "report.html"
    download.value.save_as(report)
    text = report.read_text(encoding="utf-8")
    assert "Ship smollm2-135m int4 instead of smollm2-135m bf16?" in text
    assert "gearbox experiment run" in text

    click(page.get_by_role("button", name="Replay"))
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(re.compile("recorded", re.IGNORECASE)).first).to_be_visible()
    expect(dialog.get_by_role("button", name="Save as a file")).to_be_visible()
