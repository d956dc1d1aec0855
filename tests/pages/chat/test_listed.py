"""The conversations there are: listed, searched, reopened, renamed, deleted."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.store import RunStore
from engine.types import RunConfig
from tests.support.chat_page import Open, ask, click, only, shown, words
from tests.support.fakes import FakeEngine


def test_conversations_are_listed_reopened_renamed_and_deleted(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    click(page, "chat-new")
    assert "Say something below" in words(page)
    ask(page, "Uno")
    new, old = store.chat.conversations()
    click(page, f"chat-open-{old.id}")
    assert shown(page) == ["One", "So"]
    page.text_input(key=f"chat-title-{old.id}").set_value("First").run()
    assert page.title[0].value == "First"
    click(page, "chat-delete")
    click(page, "chat-confirm-delete")
    assert [chat.id for chat in store.chat.conversations()] == [new.id]
    assert store.page().total == 2


def listed(page: AppTest) -> list[str]:
    return [button.label for button in page.sidebar.button if str(button.key).startswith("chat-open-")]


def test_three_hundred_conversations_are_paged_and_searched(chat: Open, store: RunStore) -> None:
    config = RunConfig(model="smollm2-135m").to_dict()
    made = [store.chat.create(f"Chat {number}", config) for number in range(300)]
    store.chat.append(made[7], None, "user", "Tell me of Zürich.")
    page = chat(FakeEngine())
    assert listed(page) == ["Chat 7", *(f"Chat {number}" for number in range(299, 275, -1))]
    assert "1 to 25 of 300 conversations" in words(page)
    page.session_state["chat-page-"] = 12
    page.run()
    assert listed(page) == [f"Chat {number}" for number in range(25, -1, -1) if number != 7]
    assert "276 to 300 of 300 conversations" in words(page)
    click(page, f"chat-open-{made[0]}")
    assert page.title[0].value == "Chat 0"
    page.text_input(key="chat-search").set_value("zurich").run()
    assert listed(page) == ["Chat 7"]
    assert "1 conversation that holds this" in words(page)
    page.text_input(key="chat-search").set_value("%").run()
    assert listed(page) == []
    assert "No conversation holds this." in words(page)
    page.text_input(key="chat-search").set_value("chat 29").run()
    assert "11 conversations that hold this" in words(page)
    page.text_input(key="chat-search").set_value("").run()
    assert "1 to 25 of 300 conversations" in words(page)


def test_a_page_of_conversations_that_is_no_longer_there_gives_way_to_the_last(chat: Open, store: RunStore) -> None:
    config = RunConfig(model="smollm2-135m").to_dict()
    made = [store.chat.create(f"Chat {number}", config) for number in range(26)]
    page = chat(FakeEngine())
    page.session_state["chat-page-"] = 2
    page.run()
    assert listed(page) == ["Chat 0"]
    store.chat.delete(made[0])
    page.run()
    assert not page.exception
    assert len(listed(page)) == 25
    assert "25 conversations" in words(page)


def test_a_conversation_deleted_elsewhere_is_told_of(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    store.chat.delete(only(store).id)
    page.run()
    assert not page.exception
    assert "no longer there" in words(page)
    assert page.title[0].value == "Chat"


def test_a_chat_survives_leaving_the_page(chat: Open) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    page.switch_page("pages/runs.py").run()
    page.switch_page("pages/chat.py").run()
    assert not page.exception
    assert shown(page) == ["One", "So"]
