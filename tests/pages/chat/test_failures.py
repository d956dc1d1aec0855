"""What goes wrong in a chat is told, with a way out."""

from __future__ import annotations

import pytest

from app.session import chat as chat_session
from app.store import RunStatus, RunStore, StoreError
from engine.errors import ModelNotInstalledError
from tests.support.chat_page import Open, ask, click, only, shown, words
from tests.support.fakes import FakeEngine


def test_a_failed_turn_says_why_and_can_be_tried_again(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"], failure=ModelNotInstalledError("Install it first."))
    page = ask(chat(scripted), "One")
    assert "Install it first." in words(page)
    assert shown(page) == ["One"]
    scripted.failure = None
    click(page, "chat-answer")
    assert shown(page) == ["One", "So"]
    assert "Install it first." not in words(page)


def test_a_turn_left_without_an_answer_is_offered_one(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    chat_id = only(store).id
    store.chat.append(chat_id, only(store).leaf_id, "user", "Two")
    page.run()
    click(page, "chat-other-tab")
    assert "This turn has no answer yet." in words(page)
    click(page, "chat-answer")
    assert shown(page) == ["One", "So", "Two", "So"]


def test_blank_words_are_refused(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "  ")
    assert "type something" in words(page)
    assert (scripted.requests, store.chat.conversations()) == ([], ())


def test_an_answer_that_cannot_be_asked_for_is_told_of(
    chat: Open, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise StoreError("The run database is locked.")

    page = chat(FakeEngine())
    monkeypatch.setattr(store, "create_run", refuse)
    ask(page, "One")
    assert "The run database is locked." in words(page)


def test_an_answer_outlives_its_run(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    (run,) = store.page().rows
    assert run.status is RunStatus.FINISHED
    store.delete([run.id])
    page.run()
    assert shown(page) == ["One", "So"]
    assert "its run was deleted" in words(page)


def test_a_missing_model_is_explained_with_a_way_out(chat: Open) -> None:
    page = chat(FakeEngine(), installed=())
    assert "Not installed yet: SmolLM2 135M" in words(page)
    assert page.chat_input(key=chat_session.INPUT).disabled
    assert [link.proto.page for link in page.get("page_link")] == ["model-library"]
    page = chat(FakeEngine(), installed=("smollm2-135m",))
    assert "Not installed yet" not in words(page)
    assert not page.chat_input(key=chat_session.INPUT).disabled


def test_a_model_that_is_here_and_cannot_be_run_says_why(chat: Open) -> None:
    page = chat(FakeEngine(), installed=(), problem="It has no tokenizer.json.")
    assert "It has no tokenizer.json." in words(page)
    assert "Not installed yet" not in words(page)
    assert page.chat_input(key=chat_session.INPUT).disabled


def test_an_answer_that_fails_a_second_time_hides_none_that_is_there(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "One")
    scripted.failure = ModelNotInstalledError("Install it first.")
    click(page, f"chat-again-{only(store).leaf_id}")
    assert "Install it first." in words(page)
    click(page, "chat-forward")
    assert shown(page) == ["One", "So"]
