"""A saved replay as a viewer meets it: from a disk, offline, with answers that try to run scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app.replay.page_file import replay_page
from app.replay.recorded import ReplayLane
from app.store import RunStore
from tests.support.fakes import make_metrics
from tests.support.server import Server
from tests.support.ui import add_run

pytestmark = pytest.mark.browser

PIECES = (
    "Look: ",
    "<img src=x onerror=\"document.title='fired'\">",
    "</script><script>document.title='fired'</script>",
    "![a picture](https://example.com/picture.png)",
    " 👩‍👩‍👧 ",
    "one\u2028two",
    "\n<b>three</b>",
)
SLOW = ReplayLane(
    name="A · <i>bf16</i>",
    model="smollm2-135m",
    machine="Xeon, 2 threads",
    recorded_at=datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC),
    prompt="<script>document.title='fired'</script> Why?",
    pieces=PIECES,
    at_s=tuple(1.0 + 0.5 * place for place in range(len(PIECES))),
    ttft_s=1.0,
    tpot_s=0.5,
    e2e_s=4.0,
)
FAST = replace(SLOW, name="B · int4", at_s=tuple(at_s / 2 for at_s in SLOW.at_s), e2e_s=2.0)


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The replay of two runs, opened from a file without a network; nothing but the file may be asked for."""
    file = tmp_path / "replay.html"
    file.write_text(replay_page([SLOW, FAST]), encoding="utf-8")
    context = browser.new_context(offline=True, viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(file.as_uri())
    yield page
    assert page.title() == "Gearbox replay"
    assert asked == [file.as_uri()]
    assert not wrong
    context.close()


def answers(page: Page) -> list[str]:
    return [found.text_content() or "" for found in page.locator(".answer").all()]


def test_played_at_four_times_the_speed_it_ends_with_the_whole_answers(page: Page) -> None:
    expect(page.get_by_text("Recorded, not live.")).to_be_visible()
    expect(page.get_by_text("smollm2-135m · Xeon, 2 threads · 2026-03-14 15:09:26 UTC")).to_have_count(2)
    expect(page.get_by_role("heading", name="A · <i>bf16</i>")).to_be_visible()
    assert answers(page) == ["", ""]
    page.get_by_label("Speed").select_option("4")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Play again")).to_be_visible()
    assert answers(page) == ["".join(PIECES)] * 2
    expect(page.get_by_text("Done after 4.00 s")).to_be_visible()
    expect(page.get_by_text("Done after 2.00 s")).to_be_visible()
    assert page.locator("main img, main script, main b, main i").count() == 0


def test_the_clock_is_one_for_all_lanes_and_goes_both_ways(page: Page) -> None:
    clock = page.get_by_label("Seconds since the requests arrived")
    clock.fill("1.6")
    assert answers(page) == ["".join(PIECES[:2]), "".join(PIECES[:5])]
    clock.fill("0.6")
    assert answers(page) == ["", "".join(PIECES[:1])]
    expect(page.get_by_text("0.60 s of 4.00 s")).to_be_visible()
    page.get_by_role("button", name="Restart").click()
    assert answers(page) == ["", ""]


def test_it_can_be_used_without_a_mouse_and_with_less_motion(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce", color_scheme="dark")
    page.get_by_role("button", name="Play").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_focused()
    for name in ("restart", "speed", "clock", "answer"):
        page.keyboard.press("Tab")
        expect(page.locator(f".{name}").first).to_be_focused()
    page.get_by_label("Seconds since the requests arrived").focus()
    page.keyboard.press("End")
    assert answers(page) == ["".join(PIECES)] * 2


def test_compare_plays_stored_runs_and_saves_them_as_a_file(
    server: Server, store: RunStore, new_page: Callable[[], Page], tmp_path: Path
) -> None:
    runs = [
        add_run(store, words=PIECES, metrics=make_metrics(ttft_s=first_s, tpot_s=0.1, completion_tokens=len(PIECES)))
        for first_s in (0.8, 0.2)
    ]
    page = new_page()
    page.goto(f"{server.url}/comparison?compare={','.join(runs)}")
    page.locator(".theatre").get_by_label("Speed").select_option("4")
    page.locator(".theatre").get_by_role("button", name="Play").click()
    expect(page.locator(".theatre").get_by_role("button", name="Play again")).to_be_visible()
    assert [found.text_content() for found in page.locator(".theatre .answer").all()] == ["".join(PIECES)] * 2
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Save as a file").click()
    saved = tmp_path / "saved.html"
    downloading.value.save_as(saved)
    assert re.fullmatch(r"gearbox-replay-\d{4}-\d\d-\d\d\.html", downloading.value.suggested_filename)
    assert "Recorded, not live." in saved.read_text(encoding="utf-8")
    assert page.title() != "fired"
