"""An app that nobody has asked for an answer stays small: torch comes with the first one that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import MakeServer

pytestmark = [pytest.mark.browser, pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")]

MOST_RESIDENT = 400 * 2**20


def test_a_page_that_was_opened_leaves_torch_out(make_server: MakeServer, new_page: Callable[[], Page]) -> None:
    server = make_server()
    page = new_page()
    page.goto(server.url)
    # what a precision takes is reckoned from a model's shape, which needs torch
    expect(page.get_by_text("estimated").first).to_be_visible()
    assert "libtorch" not in Path(f"/proc/{server.pid}/maps").read_text("utf-8", "replace")
    assert psutil.Process(server.pid).memory_info().rss <= MOST_RESIDENT
