"""Chat's way in for conversations of other programs."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.store import RunStore
from tests.support.chat_page import Open, click, only, words
from tests.support.fakes import FakeEngine

CHAT = {
    "title": "Rain <b>",
    "chat": {
        "title": "Rain <b>",
        "history": {
            "currentId": "b",
            "messages": {
                "a": {"parentId": None, "role": "user", "content": "A haiku."},
                "b": {"parentId": "a", "role": "assistant", "content": "Drip."},
                "c": {"parentId": "a", "role": "assistant", "content": "Drop."},
            },
        },
    },
}


def dialog() -> None:
    from app import resources
    from app.views.chat.bring import import_conversations

    import_conversations(resources.get_store().chat)


def brought(monkeypatch: pytest.MonkeyPatch, store: RunStore, *rows: object) -> AppTest:
    """The dialog with a file in it."""
    monkeypatch.setattr(resources, "get_store", lambda: store)
    page = AppTest.from_function(dialog, default_timeout=30).run()
    (uploader,) = page.get("file_uploader")
    uploader.upload("export.json", json.dumps(rows).encode(), "application/json").run()
    assert not page.exception
    return page


def test_an_export_is_shown_and_then_kept_and_opened(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    page = brought(monkeypatch, store, CHAT, {"chat": {}})
    assert "Read as Open WebUI" in words(page)
    assert list(page.dataframe[0].value["Branches"]) == [2]
    assert "entry 2 cannot be read" in words(page)
    click(page, "chat-import-keep")
    kept = only(store)
    assert (kept.title, len(kept.messages)) == ("Rain <b>", 3)
    assert page.session_state["chat-open"] == kept.id


def test_a_file_that_is_none_is_told_of(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> None:
    assert "no conversations in it" in words(brought(monkeypatch, store, {"prompt": "Hi"}))
    assert store.chat.count() == 0


def test_the_page_offers_it(chat: Open) -> None:
    page = click(chat(FakeEngine()), "chat-import")
    assert page.get("file_uploader")
