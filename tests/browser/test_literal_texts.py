"""Strangers' text in a real browser: shown letter by letter, and nothing fetched because of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from app.store import RunStatus, RunStore
from tests.app.test_literal import TRICKY
from tests.support.fakes import make_request
from tests.support.server import Server
from tests.support.ui import add_run

pytestmark = pytest.mark.browser

IMAGE = "![p](https://outside.example/a.png)"
TITLE = "What do __init__ and *args* do, and is $5 < $6?"
HOSTILE = (
    f"# {TITLE} {IMAGE} <img src=https://outside.example/b.png> :smile: :red[x] `c` -> www.outside.example me@x.org"
)

# Each text in a label, a heading, a message, a caption, a table and a tooltip's place, found again by its key.
PROBE = """
import json
from pathlib import Path
import streamlit as st
from app.literal import literal

for place, text in enumerate(json.loads(Path({file!r}).read_text(encoding="utf-8"))):
    with st.container(key=f"probe-{{place}}"):
        st.markdown(literal(text))
        st.caption(f"before {{literal(text)}} after")
        st.subheader(f"x {{literal(text)}}", anchor=False)
        st.error(f"“{{literal(text)}}”")
        st.button(f"x {{literal(text)}}", key=f"button-{{place}}")
        st.badge(f"x {{literal(text)}}")
        st.table({{"x": f"x {{literal(text)}}"}})
st.text("The end")
"""


def _soup() -> list[str]:
    """Rows of marks and words as nobody would think of them, the same at every run."""
    pieces = [
        *"\\`*_{}[]()#+-.!|$:<>~&=^@\"'/ ",
        "red",
        "material",
        "streamlit",
        "a",
        "1",
        "https://x.y",
        "www.",
        " -> ",
    ]
    draw = random.Random(0)
    return ["".join(draw.choices(pieces, k=draw.randint(1, 12))) for _ in range(60)]


def _squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def elsewhere(new_page: Callable[[], Page]) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what it asks of other servers."""
    page, asked = new_page(), []

    def note(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname != "127.0.0.1":
            asked.append(request.url)

    page.on("request", note)
    yield page, asked
    assert asked == []


def test_a_browser_shows_each_text_as_it_was_written(tmp_path: Path, elsewhere: tuple[Page, list[str]]) -> None:
    texts = [text for text in (*TRICKY, HOSTILE, *_soup()) if text.strip()]
    (tmp_path / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    (tmp_path / "probe.py").write_text(PROBE.format(file=str(tmp_path / "texts.json")), encoding="utf-8")
    server = Server(tmp_path)
    server.start(script=tmp_path / "probe.py")
    try:
        page, _ = elsewhere
        page.goto(server.url)
        page.get_by_text("The end", exact=True).wait_for(timeout=120_000)
        # mathematics, emoji and code are drawn by parts that come later
        expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
        shown = page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll('[class*="st-key-probe-"]')].map(box => [
                [...box.classList].find(name => name.startsWith("st-key-probe-")).slice(13),
                [...box.querySelectorAll('[data-testid="stMarkdownContainer"], [data-testid="stCaptionContainer"]')]
                    .map(part => part.textContent),
            ]))"""
        )
        foreign = "img, a, code, em, strong, del, .katex, blockquote, ul, ol, input, hr, pre, [role=img]"
        for place, text in enumerate(texts):
            parts = {_squeezed(part) for part in shown[str(place)]}
            assert parts == {"x", *map(_squeezed, (text, f"before {text} after", f"“{text}”", f"x {text}"))}
            marked = page.locator(f".st-key-probe-{place} [data-testid='stMarkdownContainer']").locator(foreign)
            assert marked.count() == 0, (text, marked.first.evaluate("node => node.outerHTML"))
    finally:
        server.stop()


@pytest.fixture(scope="module")
def hostile_server(make_server: Callable[[], Server]) -> Server:
    """A server whose runs and conversations were written by somebody who meant harm."""
    server = make_server()
    store = RunStore.open(server.database_url)
    request = make_request(HOSTILE, model=HOSTILE)
    group = "together"
    run = add_run(store, request, words=(IMAGE, " ", TITLE), group_id=group)
    add_run(store, request, words=("x",), status=RunStatus.FAILED, error=HOSTILE, group_id=group)
    store.set_tags(run, [IMAGE])
    store.set_note(run, HOSTILE)
    for title in (TITLE, IMAGE, HOSTILE):
        chat = store.chat.create(title, request.config.to_dict(), "")
        store.chat.append(chat, None, "user", HOSTILE)
    store.close()
    return server


@pytest.mark.parametrize(
    "path", ["/", "/history", "/comparison", "/ops", "/self-hosting", "/conversation", "/cache-lab"]
)
def test_no_page_draws_or_fetches_what_a_text_asks_for(
    hostile_server: Server, elsewhere: tuple[Page, list[str]], path: str
) -> None:
    page, _ = elsewhere
    store = RunStore.open(hostile_server.database_url)
    ids = [run.id for run in store.page().rows]
    store.close()
    addresses = {
        "/history": [f"/history?run={id}" for id in ids],
        "/comparison": [f"/comparison?compare={','.join(ids)}"],
    }
    for address in addresses.get(path, [path]):
        page.goto(hostile_server.url + address)
        page.get_by_test_id("stSidebar").wait_for()
        page.wait_for_function("() => !document.querySelector('[data-testid=\"stStatusWidget\"]')", timeout=60_000)
        assert page.locator("a[href*='outside.example'], a[href^='mailto:'], img[src^='http']").count() == 0
        assert page.get_by_test_id("stException").count() == 0


def test_a_failed_run_shows_its_model_and_its_error_as_they_are(
    hostile_server: Server, elsewhere: tuple[Page, list[str]]
) -> None:
    store = RunStore.open(hostile_server.database_url)
    failed = next(run.id for run in store.page().rows if run.status is RunStatus.FAILED)
    store.close()
    page, _ = elsewhere
    page.goto(f"{hostile_server.url}/history?run={failed}")
    error = page.get_by_test_id("stAlertContentError")
    error.wait_for()
    assert _squeezed(error.text_content() or "").endswith(_squeezed(HOSTILE))
    assert HOSTILE in (page.locator("h3").first.text_content() or "")


def test_an_upload_passes_the_doors_and_its_name_is_quoted_as_it_is(
    hostile_server: Server, elsewhere: tuple[Page, list[str]]
) -> None:
    page, _ = elsewhere
    name = "<img src=x> **b** [l](http://outside.example) $1$.csv"
    page.goto(f"{hostile_server.url}/router-lab?step=bring")
    with page.expect_response(lambda response: "upload_file" in response.url and response.request.method == "PUT"):
        page.locator("input[type=file]").set_input_files(
            {"name": name, "mimeType": "text/csv", "buffer": b"a,a\n1,2\n"}
        )
    expect(page.get_by_test_id("stFileChip")).to_have_count(1)
    error = page.get_by_test_id("stAlertContentError")
    expect(error).to_contain_text(f"{name} has two columns that are called")


@pytest.mark.parametrize("title", [TITLE, IMAGE])
def test_a_chat_s_title_is_shown_literally(
    hostile_server: Server, elsewhere: tuple[Page, list[str]], title: str
) -> None:
    page, _ = elsewhere
    page.goto(f"{hostile_server.url}/conversation")
    page.get_by_test_id("stSidebar").get_by_role("button", name=title, exact=True).click()
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    page.get_by_role("button", name="Conversation").click()
    expect(page.get_by_role("textbox", name="Title")).to_have_value(title)
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog", name="Delete this conversation?")
    expect(dialog).to_contain_text(f"“{title}” will be deleted")
