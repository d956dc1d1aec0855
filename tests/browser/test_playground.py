"""The app as people use it: a real server, a real model, a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from app.store import RunRecord, RunStatus, RunStore
from tests.browser.conftest import UNWATCHED_S
from tests.support.server import Server

pytestmark = pytest.mark.browser

VERDICT_MS = 150_000
"""Two torch processes on one machine slow each other down many times over."""
MENU = (
    "Playground",
    "Chat",
    "Quantization lab",
    "Speculation lab",
    "Router lab",
    "Cache lab",
    "Experiments",
    "Runs",
    "Compare",
    "Operations",
    "Alerts",
    "Sentinel",
    "Judging",
    "Costs",
    "Models",
    "Settings",
)
LONG = "Tell me a very long story about a lighthouse keeper and his dog."
NewPage = Callable[[], Page]


class Playground:
    """The page under test, in the words of a person who uses it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._has_run = False
        page.goto(url)
        expect(self.run_button).to_be_enabled()

    @property
    def run_button(self) -> Locator:
        return self.page.get_by_role("button", name="Run both lanes")

    @property
    def stop_button(self) -> Locator:
        return self.page.get_by_role("button", name="Stop", exact=True)

    @property
    def answers(self) -> Locator:
        """The answers so far, lane A's first."""
        return self.page.get_by_test_id("stText")

    def ask(self, prompt: str, *, max_tokens: int) -> None:
        """Set both lanes' limit, type the prompt, and run it with the keyboard."""
        for lane in range(2):
            settings = self.page.get_by_test_id("stExpander").nth(lane)
            if self._has_run:  # settings fold away after the first run
                settings.get_by_text("Settings", exact=True).click()
            limit = self.page.get_by_role("spinbutton", name="Max tokens")
            settings.get_by_role("button", name="Sampling").click()
            with suppress(PlaywrightTimeoutError):
                limit.wait_for(timeout=10_000)
            if not limit.is_visible():  # a page that is still settling can lose the first click
                settings.get_by_role("button", name="Sampling").click()
            limit.fill(str(max_tokens))
            limit.press("Enter")
            expect(self.page.get_by_text(f"at most {max_tokens:,} tokens").nth(lane)).to_be_visible()
            self.page.keyboard.press("Escape")
            expect(limit).to_have_count(0)
        self._has_run = True
        box = self.page.get_by_role("textbox", name="Prompt", exact=True)
        box.fill(prompt)
        box.press("Control+Enter")

    def wait_for_verdict(self) -> None:
        verdict = self.page.get_by_text(re.compile("Lane B against Lane A: .+"))
        expect(verdict).to_be_visible(timeout=VERDICT_MS)


def latest(store: RunStore, count: int, *, within_s: float = 10.0) -> list[RunRecord]:
    """The newest runs once none is running, newest first."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        rows = store.page(limit=count).rows
        if len(rows) == count and all(row.status is not RunStatus.RUNNING for row in rows):
            return [store.get(row.id) for row in rows]
        time.sleep(0.1)
    raise AssertionError(f"still not over: {[(row.id, row.status) for row in store.page(limit=count).rows]}")


def test_prompt_is_answered_in_both_lanes(server: Server, store: RunStore, new_page: NewPage) -> None:
    page = new_page()
    playground = Playground(page, server.url)
    playground.ask("Say in a few words why the sky is blue.", max_tokens=24)
    # words are there while the first lane is still at it
    expect(playground.answers.first).to_have_text(re.compile(r"\w+"))
    expect(playground.stop_button).to_be_enabled()
    expect(playground.run_button).to_be_disabled()
    early = playground.answers.first.inner_text()

    playground.wait_for_verdict()
    expect(playground.run_button).to_be_enabled()
    expect(page.get_by_test_id("stMetric").filter(has_text="TTFT")).to_have_count(2)
    expect(page.get_by_test_id("stMetric").filter(has_text="Cost")).to_have_count(2)
    optimised, plain = latest(store, 2)
    assert (plain.backend, plain.precision) == ("reference", "bf16")
    assert (optimised.backend, optimised.precision) == ("local", "int4")
    assert plain.group_id == optimised.group_id
    assert plain.text.startswith(early)
    assert len(plain.text) > len(early)
    # the lanes took turns: the second was asked for after the first had ended
    assert plain.metrics is not None
    waited = (optimised.created_at - plain.created_at).total_seconds()
    assert waited >= plain.metrics.e2e_s
    expect(playground.answers).to_have_text([" ".join(run.text.split()) for run in (plain, optimised)])

    page.get_by_role("link", name="Compare the two runs").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    assert f"compare={plain.id},{optimised.id}" in page.url.replace("%2C", ",")

    page.get_by_role("link", name="Playground").first.click()
    expect(playground.answers).to_have_count(2)
    expect(page.get_by_text("at most 24 tokens")).to_have_count(2)


@pytest.mark.slow
def test_stop_keeps_what_was_written_and_frees_the_engine(server: Server, store: RunStore, new_page: NewPage) -> None:
    playground = Playground(new_page(), server.url)
    playground.ask(LONG, max_tokens=2_000)
    expect(playground.answers.first).to_have_text(re.compile(r"\w+"))
    playground.stop_button.click()
    expect(playground.run_button).to_be_enabled()
    expect(playground.page.get_by_text("Lane B was stopped before its first token")).to_be_visible()
    (stopped,) = latest(store, 1)
    assert stopped.status is RunStatus.STOPPED
    assert stopped.text
    expect(playground.answers.first).to_have_text(" ".join(stopped.text.split()))

    playground.ask("Say hello.", max_tokens=8)
    playground.wait_for_verdict()
    assert [run.status for run in latest(store, 2)] == [RunStatus.FINISHED] * 2


@pytest.mark.slow
def test_a_race_goes_on_while_its_page_is_left_or_reloaded(server: Server, store: RunStore, new_page: NewPage) -> None:
    playground = Playground(new_page(), server.url)
    page = playground.page
    playground.ask(LONG, max_tokens=600)  # long enough to leave the page and come back
    expect(playground.answers.first).to_have_text(re.compile(r"\w+"))
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name="Runs", exact=True).first).to_be_visible()
    page.get_by_role("link", name="Playground", exact=True).first.click()
    expect(playground.stop_button).to_be_enabled()
    expect(page.get_by_text("at most 600 tokens")).to_have_count(2)

    page.reload()
    expect(playground.stop_button).to_be_enabled()
    expect(playground.answers.first).to_have_text(re.compile(r"\w+"))
    playground.wait_for_verdict()
    optimised, plain = latest(store, 2)
    assert [plain.status, optimised.status] == [RunStatus.FINISHED] * 2
    assert plain.group_id == optimised.group_id
    expect(playground.answers).to_have_text([" ".join(run.text.split()) for run in (plain, optimised)])


@pytest.mark.slow
def test_two_sessions_take_turns(server: Server, store: RunStore, new_page: NewPage) -> None:
    first, second = Playground(new_page(), server.url), Playground(new_page(), server.url)
    first.ask(LONG, max_tokens=300)  # long enough for the other to come meanwhile
    expect(first.answers.first).to_have_text(re.compile(r"\w+"))
    second.ask("Name three colours.", max_tokens=8)
    expect(second.page.get_by_text(re.compile("In the queue, 1 request ahead"))).to_be_visible()
    for playground in (first, second):
        playground.wait_for_verdict()
    runs = latest(store, 4)
    by_prompt = {run.prompt: run.person_id for run in runs}
    assert by_prompt.keys() == {LONG, "Name three colours."}
    assert len(set(by_prompt.values())) == 2
    for playground, prompt in ((first, LONG), (second, "Name three colours.")):
        texts = [" ".join(run.text.split()) for run in reversed(runs) if run.prompt == prompt]
        expect(playground.answers).to_have_text(texts)


@pytest.mark.slow
def test_page_closed_mid_stream_frees_the_engine_after_a_while(
    server: Server, store: RunStore, new_page: NewPage
) -> None:
    playground = Playground(new_page(), server.url)
    playground.ask(LONG, max_tokens=2_000)
    expect(playground.answers.first).to_have_text(re.compile(r"\w+"))
    playground.page.close()
    (left,) = latest(store, 1, within_s=UNWATCHED_S + 10)
    assert left.status is RunStatus.STOPPED
    assert left.text

    other = Playground(new_page(), server.url)
    other.ask("Say hello.", max_tokens=8)
    other.wait_for_verdict()


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        pytest.param("/cache-lab", "Cache lab", marks=pytest.mark.slow),
        ("/conversation", "Chat"),
        pytest.param("/history", "Runs", marks=pytest.mark.slow),
        pytest.param("/comparison?compare=a,b", "Compare", marks=pytest.mark.slow),
        pytest.param("/ops", "Operations", marks=pytest.mark.slow),
        pytest.param("/experiments-lab", "Experiments", marks=pytest.mark.slow),
        pytest.param("/self-hosting", "Costs", marks=pytest.mark.slow),
        pytest.param("/quantization-lab?measure=On+a+corpus", "Quantization lab", marks=pytest.mark.slow),
        pytest.param("/speculation-lab?speculation=Matchmaker", "Speculation lab", marks=pytest.mark.slow),
        ("/router-lab?router-section=Curve", "Router lab"),
    ],
)
def test_deep_link_is_the_first_request_of_a_fresh_server(
    make_server: Callable[[], Server], new_page: NewPage, path: str, heading: str
) -> None:
    fresh = make_server()
    page = new_page()
    page.goto(fresh.url + path)
    expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
    menu = page.get_by_test_id("stSidebarNav")
    for title in MENU:
        expect(menu.get_by_role("link", name=title, exact=True)).to_be_visible()
    expect(menu.get_by_role("link")).to_have_count(len(MENU))
    expect(page.get_by_test_id("stException")).to_have_count(0)
    assert page.title() != "streamlit_app"
    fresh.stop()


@pytest.mark.slow
def test_killed_server_comes_back_with_the_run_interrupted(
    make_server: Callable[[], Server], new_page: NewPage
) -> None:
    fragile = make_server()
    playground = Playground(new_page(), fragile.url)
    playground.ask(LONG, max_tokens=2_000)
    expect(playground.answers.first).to_have_text(re.compile(r"(\w+\W+){6}"))
    store = RunStore.open(fragile.database_url)
    deadline = time.monotonic() + 20
    while not any(store.get(row.id).text for row in store.page().rows):  # saved once a second
        assert time.monotonic() < deadline
        time.sleep(0.1)
    store.close()
    fragile.kill()
    playground.page.close()

    fragile.start()
    page = new_page()
    page.goto(f"{fragile.url}/history")
    expect(page.get_by_role("heading", name="Runs", exact=True).first).to_be_visible()
    store = RunStore.open(fragile.database_url)
    runs = [store.get(row.id) for row in store.page().rows]
    store.close()
    assert {run.status for run in runs} <= {RunStatus.INTERRUPTED, RunStatus.FINISHED}, [run.error for run in runs]
    kept = next(run for run in runs if run.status is RunStatus.INTERRUPTED and run.text)
    page.goto(f"{fragile.url}/history?run={kept.id}")
    expect(page.get_by_text("Interrupted").first).to_be_visible()
    expect(page.get_by_text(" ".join(kept.text.split())[:20]).first).to_be_visible()
    fragile.stop()
