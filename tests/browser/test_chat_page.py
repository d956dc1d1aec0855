"""A conversation as people hold it: a real model, five turns, one of them asked again in other words."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Self

import pytest
from playwright.sync_api import Locator, Page, expect

from app.store import Conversation, RunStatus, RunStore
from engine.types import RunConfig
from tests.support.server import Server

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000
QUESTIONS = ("Say hello.", "Name a colour.", "Name a fruit.", "Name a city.", "Name a river.")


class Chat:
    """The page under test, in the words of a person who uses it."""

    def __init__(self, page: Page, url: str, *, max_tokens: int) -> None:
        self.page = page
        page.goto(f"{url}/conversation")
        self.set_max_tokens(max_tokens)

    @classmethod
    def opened(cls, page: Page) -> Self:
        """The page with a conversation that is open on it."""
        chat = cls.__new__(cls)
        chat.page = page
        return chat

    def set_max_tokens(self, count: int) -> None:
        """Under 'Settings'."""
        expect(self.box).to_be_enabled(timeout=PATIENCE_MS)
        self.page.get_by_test_id("stPopoverButton").filter(has_text="Settings").click()
        limit = self.page.get_by_role("spinbutton", name="Max tokens")
        limit.fill(str(count))
        limit.press("Enter")
        self.page.keyboard.press("Escape")
        expect(limit).to_have_count(0)

    @property
    def box(self) -> Locator:
        return self.page.get_by_placeholder("Say something")

    @property
    def figures(self) -> Locator:
        """What stands under each answer."""
        return self.page.get_by_text(re.compile(r"TTFT .+ computed"))

    @property
    def turns(self) -> Locator:
        """What a person said."""
        return self.page.get_by_test_id("stChatMessage").filter(has=self.page.get_by_role("button", name="Edit"))

    def say(self, text: str) -> None:
        """Type it, and wait for the answer and its figures."""
        before = self.figures.count()
        self.box.fill(text)
        self.box.press("Enter")
        self.wait_for_answers(before + 1)

    def wait_for_answers(self, count: int) -> None:
        expect(self.figures).to_have_count(count, timeout=PATIENCE_MS)
        expect(self.box).to_be_enabled(timeout=PATIENCE_MS)

    def reused(self) -> list[int]:
        """Tokens reused by each turn on view."""
        texts = self.figures.all_inner_texts()
        return [
            int(found[1].replace(",", "")) for text in texts if (found := re.search(r"([\d,]+) tokens? reused", text))
        ]


def newest(store: RunStore) -> Conversation:
    return store.chat.get(store.chat.conversations(limit=1)[0].id)


def test_five_turns_reuse_what_was_read_and_an_edit_begins_a_branch(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    chat = Chat(page, server.url, max_tokens=8)
    for question in QUESTIONS:
        chat.say(question)
    reused = chat.reused()
    assert reused[1:] == sorted(reused[1:])
    assert all(reused[1:])
    expect(page.get_by_text("TTFT by turn, measured")).to_be_visible()
    old = newest(store)

    page.get_by_role("button", name="Edit").nth(2).click()
    page.get_by_label("Your message").fill("Name a vegetable.")
    page.get_by_test_id("stBaseButton-primaryFormSubmit").click()
    expect(page.get_by_text("2 of 2")).to_be_visible(timeout=PATIENCE_MS)
    chat.wait_for_answers(3)
    expect(chat.turns).to_have_count(3)
    # all before the edited words holds still
    assert chat.reused()[:2] == reused[:2]
    assert chat.reused()[2] >= reused[2]

    chat.say("Name a herb.")
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_text("1 of 2")).to_be_visible(timeout=PATIENCE_MS)
    chat.wait_for_answers(5)
    assert chat.reused() == reused
    kept = newest(store)
    assert kept.path() == old.path()
    assert len(kept.messages) == len(old.messages) + 4
    assert not page.get_by_test_id("stException").count()


def test_an_answer_goes_on_over_a_reload_and_back_leads_to_the_chat_before(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    chat = Chat(page, server.url, max_tokens=8)
    chat.say("Name a bird.")
    bird = newest(store)
    page.wait_for_url(f"**/conversation?chat={bird.id}")

    page.get_by_role("button", name="New chat").click()
    page.wait_for_url("**/conversation")
    expect(chat.figures).to_have_count(0, timeout=PATIENCE_MS)
    chat.set_max_tokens(2_000)  # some seconds: enough to reload the page meanwhile
    chat.box.fill("Tell me a long story about a fish.")
    chat.box.press("Enter")
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_be_visible(timeout=PATIENCE_MS)
    written = page.get_by_test_id("stText").nth(1)
    expect(written).to_have_text(re.compile(r"(\w+\W+){3}"), timeout=PATIENCE_MS)
    before = written.inner_text()
    page.reload()
    stop.click(timeout=PATIENCE_MS)
    chat.wait_for_answers(1)
    fish = newest(store)
    _, answer = fish.messages
    assert store.get(answer.run_id or "").status is RunStatus.STOPPED
    assert len(answer.content) > len(before), "it went on while the page was loaded again"
    expect(written).to_have_text(" ".join(answer.content.split()))

    page.get_by_role("button", name="Name a bird.").click()
    expect(page.get_by_role("heading", name="Name a bird.")).to_be_visible(timeout=PATIENCE_MS)
    page.go_back()
    expect(page.get_by_role("heading", name=fish.title)).to_be_visible(timeout=PATIENCE_MS)
    page.go_forward()
    expect(page.get_by_role("heading", name="Name a bird.")).to_be_visible(timeout=PATIENCE_MS)
    assert not page.get_by_test_id("stException").count()


@pytest.mark.slow
def test_two_tabs_of_one_conversation_are_answered_at_once_and_each_as_it_shows(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    page = new_page()
    pages = [page, page.context.new_page()]  # of one browser, and so of one person
    first = Chat(pages[0], server.url, max_tokens=8)
    first.say("Say good morning.")
    title = newest(store).title
    pages[1].goto(f"{server.url}/conversation")
    pages[1].get_by_role("button", name=title).click()
    second = Chat.opened(pages[1])
    expect(second.figures).to_have_count(1, timeout=PATIENCE_MS)

    # one tab changes a setting and asks; the other asks before it has seen any of that
    first.set_max_tokens(5)
    first.box.fill("Name a colour.")
    second.box.fill("Name a fruit.")
    first.box.press("Enter")
    second.box.press("Enter")
    for chat in (first, second):
        chat.wait_for_answers(2)
    kept = newest(store)
    colour, fruit = kept.children(kept.messages[1].id)
    assert {colour.content, fruit.content} == {"Name a colour.", "Name a fruit."}
    limits = {}
    for asked in (colour, fruit):
        (answer,) = kept.children(asked.id)
        limits[asked.content] = RunConfig.from_dict(store.get(answer.run_id or "").config).sampling.max_tokens
    assert limits == {"Name a colour.": 5, "Name a fruit.": 8}

    # each is told of the other's turn, and shown it when it asks
    expect(pages[0].get_by_text("Name a fruit.", exact=True)).to_have_count(0)
    expect(pages[0].get_by_text("went on in another tab")).to_be_visible(timeout=PATIENCE_MS)
    pages[0].get_by_role("button", name="Show it").click()
    expect(pages[0].get_by_text("Name a fruit.", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    expect(pages[0].get_by_text("Name a colour.", exact=True)).to_have_count(0)

    # deleted under an answer: told in words, and what was written is among the runs
    first.set_max_tokens(2_000)
    first.box.fill("Tell me a very long story about a lighthouse keeper and his dog.")
    first.box.press("Enter")
    expect(pages[0].get_by_role("button", name="Stop")).to_be_visible(timeout=PATIENCE_MS)
    store.chat.delete(kept.id)
    pages[0].get_by_role("button", name="Stop").click()
    expect(pages[0].get_by_text("deleted in another tab while it was being answered")).to_be_visible(
        timeout=PATIENCE_MS
    )
    expect(pages[1].get_by_text("no longer there")).to_be_visible(timeout=PATIENCE_MS)
    for page in pages:
        assert not page.get_by_test_id("stException").count()


@pytest.mark.slow
def test_what_a_killed_server_had_written_comes_back(
    make_server: Callable[[], Server], new_page: Callable[[], Page]
) -> None:
    fragile = make_server()
    page = new_page()
    chat = Chat(page, fragile.url, max_tokens=2_000)
    story = "Tell me a very long story about a lighthouse keeper and his dog."
    chat.box.fill(story)
    chat.box.press("Enter")
    expect(page.get_by_test_id("stText").nth(1)).to_have_text(re.compile(r"(\w+\W+){6}"), timeout=PATIENCE_MS)
    time.sleep(1.5)  # the text is saved once a second
    fragile.kill()
    page.close()

    fragile.start()
    page = page.context.new_page()  # of the same browser
    page.goto(f"{fragile.url}/conversation")
    page.get_by_role("button", name=story[:40]).click()
    expect(page.get_by_text("Interrupted: the server was stopped")).to_be_visible(timeout=PATIENCE_MS)
    store = RunStore.open(fragile.database_url)
    (row,) = store.page().rows
    assert row.status is RunStatus.INTERRUPTED
    text = store.get(row.id).text
    store.close()
    expect(page.get_by_test_id("stText").nth(1)).to_have_text(" ".join(text.split()))
    fragile.stop()
