"""A chat's turns and branches, on a scripted engine and a real store."""

from __future__ import annotations

from dataclasses import replace

from app.session import chat as chat_session
from app.store import RunStatus, RunStore
from engine.types import CacheMode, RunConfig
from tests.support.chat_page import Open, ask, click, only, shown, words
from tests.support.fakes import FakeEngine, make_metrics
from tests.support.ui import add_run


def test_an_empty_page_says_what_it_does_and_keeps_nothing(chat: Open, store: RunStore) -> None:
    page = chat(FakeEngine())
    assert "Say something below" in words(page)
    assert not page.chat_input(key=chat_session.INPUT).disabled
    assert store.chat.conversations() == ()


def test_turns_are_answered_with_the_history_and_its_tokens(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["Blue", " light"], delay_s=0.01)
    page = ask(ask(chat(scripted), "Why is the sky blue?"), "And at dusk?")
    assert shown(page) == ["Why is the sky blue?", "Blue light", "And at dusk?", "Blue light"]
    assert page.title[0].value == "Why is the sky blue?"
    first, second = scripted.requests
    assert [(m.role, m.content, m.token_ids) for m in second.messages] == [
        ("user", "Why is the sky blue?", ()),
        ("assistant", "Blue light", (100, 101)),
        ("user", "And at dusk?", ()),
    ]
    assert first.cache_salt == second.cache_salt != ""
    assert {run.person_id for run in store.page().rows} == {first.cache_salt}
    assert first.config.optimization.cache_mode is CacheMode.PREFIX
    # figures, and a link to each run
    assert words(page).count("TTFT 10.0 ms · 0 tokens reused · ") == 2
    assert "10 tokens computed" in words(page)
    assert words(page).count("smollm2-135m · int4 · prefix cache") == 1
    queries = [link.proto.query_string for link in page.get("page_link")]
    assert queries == [f"run={run.id}" for run in reversed(store.page().rows)]


def test_an_edit_branches_and_both_branches_can_be_shown(chat: Open, store: RunStore) -> None:
    page = ask(ask(chat(FakeEngine(["So"])), "One"), "Two")
    one = only(store).messages[0]
    click(page, f"chat-edit-{one.id}")
    page.text_area(key=f"chat-wording-{one.id}").set_value("Uno")
    click(page, "chat-save-edit")
    assert shown(page) == ["Uno", "So"]
    assert "2 of 2" in words(page)
    uno = only(store).path()[0]
    click(page, f"chat-previous-{uno.id}")
    assert shown(page) == ["One", "So", "Two", "So"]
    assert "1 of 2" in words(page)
    assert len(only(store).messages) == 6


def test_an_edit_can_be_given_up(chat: Open, store: RunStore) -> None:
    page = ask(chat(FakeEngine(["So"])), "One")
    click(page, f"chat-edit-{only(store).messages[0].id}")
    click(page, "chat-cancel-edit")
    assert shown(page) == ["One", "So"]
    assert len(only(store).messages) == 2


def test_the_last_turn_is_answered_again(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "One")
    scripted.tokens = ("Thus",)
    click(page, f"chat-again-{only(store).leaf_id}")
    assert shown(page) == ["One", "Thus"]
    click(page, f"chat-previous-{only(store).leaf_id}")
    assert shown(page) == ["One", "So"]
    assert [request.config.sampling.seed for request in scripted.requests] == [0, 1]


def test_a_chat_branches_at_an_earlier_answer_and_comes_back(chat: Open, store: RunStore) -> None:
    page = ask(ask(chat(FakeEngine(["So"])), "One"), "Two")
    click(page, f"chat-branch-{only(store).messages[1].id}")
    assert shown(page) == ["One", "So"]
    click(page, "chat-forward")
    assert shown(page) == ["One", "So", "Two", "So"]
    click(page, f"chat-branch-{only(store).messages[1].id}")
    ask(page, "Other")
    assert shown(page) == ["One", "So", "Other", "So"]


def test_an_answer_in_circles_raises_the_alarm(chat: Open, store: RunStore) -> None:
    metrics = replace(make_metrics(completion_tokens=64), repetition=0.9)
    run_id = add_run(store, metrics=metrics)
    conversation_id = store.chat.create("Tea", RunConfig(model="smollm2-135m").to_dict(), "")
    asked = store.chat.append(conversation_id, None, "user", "Tell me about tea.")
    store.chat.append(conversation_id, asked, "assistant", "Tea is tea is tea.", run_id=run_id)
    page = chat(FakeEngine())
    page.query_params["chat"] = conversation_id
    page.run()
    assert "90 % of this answer" in words(page)


def test_an_answer_is_started_cold_with_its_own_seed(chat: Open, store: RunStore) -> None:
    scripted = FakeEngine(["So"])
    page = ask(chat(scripted), "One")
    click(page, f"chat-again-{only(store).leaf_id}")
    click(page, f"chat-cold-{only(store).leaf_id}")
    assert [(r.config.sampling.seed, r.cold) for r in scripted.requests] == [(0, False), (1, False), (1, True)]
    assert "3 of 3" in words(page)
    page.segmented_control(key=f"chat-{only(store).id}-cache-mode").set_value(CacheMode.KV).run()
    click(page, f"chat-again-{only(store).leaf_id}")
    assert f"chat-cold-{only(store).leaf_id}" not in {button.key for button in page.button}


def test_what_a_killed_server_had_written_is_there_when_the_chat_is_opened(chat: Open, store: RunStore) -> None:
    conversation_id = store.chat.create("Tea", RunConfig(model="smollm2-135m").to_dict(), "")
    asked = store.chat.append(conversation_id, None, "user", "Tell me about tea.")
    add_run(store, words=("Tea", " is"), status=RunStatus.INTERRUPTED, group_id=asked)
    page = chat(FakeEngine())
    click(page, f"chat-open-{conversation_id}")
    assert shown(page) == ["Tell me about tea.", "Tea is"]
    assert "Interrupted: the server was stopped" in words(page)
    page.run()
    assert len(only(store).messages) == 2
