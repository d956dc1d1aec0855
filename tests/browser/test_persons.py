"""A person is a browser: the same after a reload, in a second tab and after a restart; another one is somebody else."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from app.store import RunStore
from tests.browser.conftest import MakeServer
from tests.browser.test_chat_page import Chat
from tests.support.browsing import settle
from tests.support.server import PASSWORD, sign_in

pytestmark = pytest.mark.browser

NewPage = Callable[[], Page]
TYPED = "Which bird sings first in the morning?"


def set_playground(page: Page) -> None:
    """A prompt and a price of one's own."""
    settle(page)
    page.get_by_test_id("stPopoverButton").filter(has_text="Machine price").click()
    price = page.get_by_role("spinbutton", name=re.compile("Price per hour"))
    price.fill("7")
    price.press("Enter")
    settle(page)
    expect(price).to_have_value("7")
    page.keyboard.press("Escape")
    box = page.get_by_role("textbox", name="Prompt", exact=True)
    box.fill(TYPED)
    box.press("Control+Enter")
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_enabled()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("button", name="Run both lanes")).to_be_enabled()


def expect_playground(page: Page, prompt: str | re.Pattern[str], price: str | re.Pattern[str]) -> None:
    expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(prompt)
    page.get_by_test_id("stPopoverButton").filter(has_text="Machine price").click()
    expect(page.get_by_role("spinbutton", name=re.compile("Price per hour"))).to_have_value(price)
    page.keyboard.press("Escape")


@pytest.mark.slow
def test_settings_survive_a_reload_a_second_tab_and_a_restart_and_are_nobody_elses(
    make_server: MakeServer, new_page: NewPage
) -> None:
    server, page, stranger = make_server(), new_page(), new_page()
    page.goto(server.url)
    set_playground(page)
    page.reload()
    expect_playground(page, TYPED, "7")
    second = page.context.new_page()
    second.goto(server.url)
    expect_playground(second, TYPED, "7")
    stranger.goto(server.url)
    expect_playground(stranger, re.compile("^(?!Which bird)"), re.compile(r"^0\.\d+$"))
    server.kill()
    server.start()
    page.goto(server.url)
    expect_playground(page, TYPED, "7")
    identity = next(cookie for cookie in page.context.cookies() if cookie["name"] == "gearbox_person")
    assert (identity["httpOnly"], identity["sameSite"]) == (True, "Lax")
    assert identity["value"] not in page.evaluate("document.cookie + JSON.stringify(localStorage)")
    assert identity["value"].encode() not in b"".join(file.read_bytes() for file in server.data_dir.glob("gearbox.db*"))
    server.stop()


@pytest.mark.slow
def test_kv_and_chats_survive_a_reload_and_strangers_from_outside_see_none_of_it(
    make_server: MakeServer, new_page: NewPage
) -> None:
    # so somebody may come in from outside
    server = make_server(GEARBOX_ALLOWED_HOSTS="gearbox.lan", GEARBOX_PASSWORD=PASSWORD)
    page, stranger = new_page(), new_page()
    for visitor in (page, stranger):
        visitor.goto(server.url)
        sign_in(visitor)
    Chat(page, server.url, max_tokens=4).say(TYPED)
    page.reload()
    expect(page.get_by_role("button", name=TYPED)).to_be_visible()
    page.goto(f"{server.url}/cache-lab")
    expect(page.get_by_text("All of yours")).to_be_visible()

    store = RunStore.open(server.database_url)
    (run,) = store.page().rows
    store.close()
    stranger.goto(f"{server.url}/cache-lab")
    expect(stranger.get_by_text(re.compile(r"sequences? of others, whose texts are theirs alone"))).to_be_visible()
    stranger.goto(f"{server.url}/history?run={run.id}")
    expect(stranger.get_by_text("This run belongs to somebody else.")).to_be_visible()
    stranger.goto(f"{server.url}/conversation")
    expect(stranger.get_by_text("No conversations yet.")).to_be_visible()
    page.goto(f"{server.url}/history?run={run.id}")
    expect(page.get_by_text(TYPED).first).to_be_visible()
    server.stop()


@pytest.mark.slow
def test_kv_goes_once_its_person_has_been_away(make_server: MakeServer, new_page: NewPage) -> None:
    server, page, other = make_server(GEARBOX_AWAY_MINUTES="0"), new_page(), new_page()
    Chat(page, server.url, max_tokens=4).say(TYPED)
    other.goto(f"{server.url}/cache-lab")
    expect(other.get_by_text(re.compile("of others, whose texts are theirs alone"))).to_be_visible()
    page.close()
    expect(other.get_by_text("Nothing is kept yet.")).to_be_visible()
    server.stop()
