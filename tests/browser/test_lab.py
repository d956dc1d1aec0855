"""The Quantization lab as people use it: a real model, its answer in 4 bits read again in 16."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.store import RunStatus, RunStore
from tests.support.server import Server

pytestmark = pytest.mark.browser

RESULT_MS = 150_000
"""Two models are loaded first, on a machine that may be busy."""


def test_a_prompt_in_4_bits_is_compared_with_16_bits(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    page.goto(f"{server.url}/quantization-lab")
    run = page.get_by_role("button", name="Run and compare")
    expect(run).to_be_enabled()
    expect(page.get_by_text("dequantized from")).to_be_visible()
    limit = page.get_by_role("spinbutton", name="Max tokens")
    limit.fill("24")
    limit.press("Tab")
    page.get_by_role("textbox", name="Prompt").fill("Why do leaves fall in autumn?")
    run.click()
    # the page stays alive while the models work
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(run).to_be_disabled()

    expect(page.get_by_test_id("stMetric").filter(has_text="Top-1 flips")).to_have_count(1, timeout=RESULT_MS)
    expect(run).to_be_enabled()
    expect(page.get_by_role("heading", name="smollm2-135m in int4")).to_be_visible()
    expect(page.get_by_text(re.compile(r"part at token \d+|gives the same answer, token by token"))).to_be_visible()

    (kept,) = store.page(limit=1).rows
    assert (kept.status, kept.backend, kept.precision) == (RunStatus.FINISHED, "local", "int4")
    assert kept.prompt == "Why do leaves fall in autumn?"
    answer = page.get_by_role("group", name="Answer in int4, compared with 16 bits token by token")
    expect(answer).to_have_text(" ".join(store.get(kept.id).text.split()), use_inner_text=True)
    answer.locator(".piece").nth(3).hover()
    tip = page.locator(".tip")
    expect(tip).to_contain_text("Likeliest in 16 bits | in int4:")
    expect(tip).to_contain_text(re.compile(r"KLD .* nats · Δp .* points"))

    page.get_by_text("Δp", exact=True).click()
    expect(page.get_by_text("how much likelier or less likely than in 16 bits")).to_be_visible()
    page.get_by_role("link", name="Open this run").click()
    expect(page.get_by_role("heading", name="smollm2-135m · int4")).to_be_visible()
