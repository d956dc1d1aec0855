"""A server's model from its address to an answer beside a model of this machine, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from app.store import RunStore
from tests.browser.test_playground import Playground, latest
from tests.support.scripted_server import Reply, ScriptedServer
from tests.support.server import Server

pytestmark = pytest.mark.browser

KEY = "sk-of-a-test"
ANSWER = ("Sunlight", " is", " scattered", " <b>blue</b>.")


def choose(page: Page, box: Locator, option: str) -> None:
    """Pick one of a list."""
    box.click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_server_is_added_tested_and_raced_against_a_model_of_this_machine(
    server: Server, store: RunStore, new_page: Callable[[], Page]
) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": len(ANSWER)}
    with ScriptedServer(lambda _: Reply(texts=ANSWER, gap_s=0.02, usage=usage)) as other:
        other.models = {"data": [{"id": "llama-8b"}, {"id": "llama-70b"}]}
        page = new_page()
        page.goto(f"{server.url}/model-library")
        page.get_by_role("textbox", name="Address", exact=True).fill(other.url)
        page.get_by_role("textbox", name="Key", exact=True).fill(KEY)
        page.get_by_role("textbox", name="Key", exact=True).press("Enter")
        expect(page.get_by_text("the key stays in Gearbox's memory")).to_be_visible()
        page.get_by_role("button", name="List its models").click()
        expect(page.get_by_text("It has 2 models.")).to_be_visible()
        choose(page, page.get_by_role("combobox", name="Model", exact=True), "llama-70b")
        page.get_by_role("textbox", name="Name here").fill("office")
        page.get_by_role("textbox", name="Name here").press("Enter")
        page.get_by_role("button", name="Add", exact=True).last.click()
        expect(page.get_by_role("heading", name="@office")).to_be_visible()
        page.get_by_role("button", name="Test connection").click()
        expect(page.get_by_text("Works")).to_be_visible()
        expect(page.get_by_text("Streams")).to_be_visible()
        assert KEY not in page.content()

        playground = Playground(page, server.url)
        lane_b = page.get_by_role("combobox", name="Model", exact=True).nth(1)
        choose(page, lane_b, "@office")
        expect(page.get_by_text("Remote", exact=True)).to_be_visible()
        playground.ask("Say in a few words why the sky is blue.", max_tokens=16)
        playground.wait_for_verdict()
        expect(page.get_by_text("not told", exact=True).first).to_be_visible()
        expect(page.get_by_text("Network, at most")).to_be_visible()
        there, here = latest(store, 2)
        assert (there.model, there.backend, there.precision) == ("@office", "remote", "unknown")
        assert here.backend != "remote"
        assert there.text == "".join(ANSWER)
        assert there.group_id == here.group_id
        assert other.headers[-1]["authorization"] == f"Bearer {KEY}"
        assert KEY not in str(there)
    (kept,) = store.remotes.all()
    assert kept.sealed_key is None
    store.remotes.remove(kept.id)
