"""A report as it is printed and read: pages of A4, no network, nothing of its texts run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from app.reports.page import report_html
from tests.support.html import HOSTILE
from tests.support.reports import make_report
from tests.support.server import CHROMIUM_FLAGS

pytestmark = pytest.mark.browser

A4_POINTS = (595, 842)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "report.html"
    file.write_text(report_html(make_report(flips=12)), encoding="utf-8")
    return file


def test_it_prints_on_one_or_two_pages_of_a4(chromium: str, report: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    command = [chromium, "--headless", *CHROMIUM_FLAGS, "--no-pdf-header-footer", f"--print-to-pdf={printed}"]
    subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", report.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    sizes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", printed.read_bytes())
    assert 1 <= len(sizes) <= 2
    for width, height in sizes:
        assert (float(width), float(height)) == pytest.approx(A4_POINTS, abs=1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_it_is_read_offline_at_any_width(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(report_html(make_report("".join(HOSTILE))), encoding="utf-8")
    context = browser.new_context(
        offline=True,
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("svg.chart").count() == 2
    assert asked == [file.as_uri()]
    assert not wrong
    context.close()
