"""The Speculation lab as people use it: a real model, n-gram drafts, the answer coloured by their fate."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.store import RunStore
from tests.support.server import Server

pytestmark = pytest.mark.browser

RESULT_MS = 150_000
"""A model is loaded first, on a machine that may be busy."""


@pytest.mark.slow
def test_a_copy_heavy_answer_shows_where_its_tokens_come_from(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/speculation-lab")
    run = page.get_by_role("button", name="Run both ways")
    expect(run).to_be_enabled()
    limit = page.get_by_role("spinbutton", name="Max tokens")
    limit.fill("48")
    limit.press("Tab")
    page.get_by_role("textbox", name="Prompt", exact=True).fill(
        "Repeat this sentence three times: The harbour master counts the boats twice before the tide turns."
    )
    run.click()
    badge = page.get_by_text(re.compile(r"Identical to plain decoding: checked, \d+/\d+ tokens"))
    expect(badge.first).to_be_visible(timeout=RESULT_MS)
    expect(page.get_by_role("heading", name="smollm2-135m · int4 · drafts: n-grams")).to_be_visible()

    kept = store.get(store.page(limit=1).rows[0].id)
    assert kept.speculation is not None
    assert kept.losslessness is not None
    assert kept.metrics is not None
    assert kept.metrics.accepted_tokens > 0
    answer = page.get_by_role("group", name="Answer by the source of its tokens")
    expect(answer).to_have_text(" ".join(kept.text.split()), use_inner_text=True)
    # accepted pieces are told by their line, not by their colour alone
    accepted = answer.locator(".piece.mark.underline")
    expect(accepted).to_have_count(kept.metrics.accepted_tokens)
    accepted.first.hover()
    expect(page.locator(".tip")).to_contain_text(re.compile(r"Drafted and accepted.*Draft of \d+ tokens? by n-grams"))
    legend = page.locator(".legend")
    for label in (
        "the model alone",
        "drafted and accepted",
        "bonus after a whole draft",
        "in place of a rejected draft",
    ):
        expect(legend.get_by_text(label)).to_be_visible()
