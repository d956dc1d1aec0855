"""One conversation in several tabs: each is answered as its own tab shows it, and nothing that another adds is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import resources
from app.chat import conversations as chat
from app.doors.person import TAB_ID
from app.runs.service import stream
from app.session import chat as chat_session
from app.settings import Settings
from app.store import Conversation, RunStatus, RunStore, StoreError
from engine.errors import ModelNotInstalledError
from engine.types import CacheMode, GenerationRequest, Precision, RunConfig
from tests.support.chat_page import ask, click, only, shown, words
from tests.support.fakes import FakeEngine, FakeGeneration
from tests.support.ui import open_app

Tab = Callable[[], AppTest]


class Busy(FakeEngine):
    """An engine while whose next answer is written something else happens."""

    def __init__(self, tokens: Sequence[str] = ("So",)) -> None:
        super().__init__(tokens)
        self.meanwhile: Callable[[], object] | None = None

    def generate(self, request: GenerationRequest) -> FakeGeneration:
        happens, self.meanwhile = self.meanwhile, None
        if happens:
            happens()
        return super().generate(request)


@pytest.fixture
def scripted() -> Busy:
    return Busy()


@pytest.fixture
def tab(tmp_path: Path, store: RunStore, scripted: Busy, monkeypatch: pytest.MonkeyPatch) -> Tab:
    """Open the page in another tab, on the conversation if there is one."""
    settings = Settings(data_dir=tmp_path, database_url="", models_dir=tmp_path / "models")
    monkeypatch.setattr(resources, "get_settings", lambda: settings)
    monkeypatch.setattr("app.views.shared.missing_models.show_missing", lambda *_, **__: False)

    def open_tab() -> AppTest:
        page = open_app(monkeypatch, store, "pages/chat.py", engine=scripted)
        if there := store.chat.conversations():
            click(page, f"chat-open-{there[0].id}")
        return page

    return open_tab


def say_elsewhere(store: RunStore, text: str, *, after: str | None = None) -> chat.Turn:
    """Another tab says something and has it answered."""
    there = only(store)
    asked = store.chat.append(there.id, after or there.leaf_id, "user", text)
    return answer_elsewhere(store, there, asked)


def answer_elsewhere(store: RunStore, there: Conversation, asked: str) -> chat.Turn:
    turn = chat.begin_turn(store, there, asked, salt="elsewhere")
    with closing(stream(FakeEngine(["Else"]), store, turn.lane.request, person_id="elsewhere")) as events:
        for event in events:
            turn.lane.take(event)
    chat.keep_answer(store, turn)
    return turn


def contents(store: RunStore) -> list[str]:
    return [message.content for message in only(store).messages]


# --- settings ----------------------------------------------------------------------------------------


def test_each_tab_is_answered_with_its_own_settings(tab: Tab, store: RunStore, scripted: Busy) -> None:
    one = ask(tab(), "One")
    two = tab()
    chat_id = only(store).id
    one.toggle(key=f"chat-{chat_id}-quantization").set_value(False)
    one.text_area(key=f"chat-{chat_id}-system").set_value("Be brief.").run()
    assert RunConfig.from_dict(only(store).config).precision is Precision.BF16
    two.run()
    assert "smollm2-135m · int4 · prefix cache" in words(two)
    assert only(store).system == "Be brief.", "looking at a tab reverts nothing"
    click(two, f"chat-again-{only(store).leaf_id}")
    ask(one, "Two")
    ask(two, "Zwei")
    asked = [(r.config.precision, r.messages[0].role, r.messages[-1].content) for r in scripted.requests[1:]]
    assert asked == [
        (Precision.INT4, "user", "One"),
        (Precision.BF16, "system", "Two"),
        (Precision.INT4, "user", "Zwei"),
    ]
    # whoever opens it next finds it as it was last asked
    three = tab()
    assert three.segmented_control(key=f"chat-{chat_id}-precision").value == Precision.INT4


def test_a_setting_changed_in_one_tab_changes_only_what_it_says(tab: Tab, store: RunStore) -> None:
    one = ask(tab(), "One")
    two = tab()
    chat_id = only(store).id
    one.segmented_control(key=f"chat-{chat_id}-cache-mode").set_value(CacheMode.KV).run()
    two.number_input(key=f"chat-{chat_id}-max-tokens").set_value(77).run()
    one.run()
    assert one.segmented_control(key=f"chat-{chat_id}-cache-mode").value == CacheMode.KV
    assert one.number_input(key=f"chat-{chat_id}-max-tokens").value != 77
    assert two.segmented_control(key=f"chat-{chat_id}-cache-mode").value == CacheMode.PREFIX


def test_what_is_typed_and_clicked_at_once_is_asked_with_what_was_typed(
    tab: Tab, store: RunStore, scripted: Busy
) -> None:
    page = ask(tab(), "One")
    chat_id = only(store).id
    page.text_area(key=f"chat-{chat_id}-system").set_value("Be brief.")
    click(page, f"chat-again-{only(store).leaf_id}")
    assert scripted.requests[-1].messages[0].content == "Be brief."
    assert only(store).system == "Be brief."


def test_a_model_that_another_tab_chose_and_is_gone_leaves_this_tab_its_own(tab: Tab, store: RunStore) -> None:
    page = ask(tab(), "One")
    there = only(store)
    store.chat.configure(there.id, RunConfig(model="gone").to_dict(), "")
    page.run()
    assert not page.exception
    assert page.selectbox(key=f"chat-{there.id}-model").value == "smollm2-135m"


# --- branches ----------------------------------------------------------------------------------------


def test_each_tab_goes_on_from_the_branch_it_shows(tab: Tab, store: RunStore, scripted: Busy) -> None:
    one = ask(tab(), "One")
    two = tab()
    ask(one, "Two")
    two.chat_input(key=chat_session.INPUT).set_value("Zwei").run()
    assert [m.content for m in scripted.requests[-1].messages] == ["One", "So", "Zwei"]
    assert shown(two) == ["One", "So", "Zwei", "So"]
    assert "2 of 2" in words(two)
    one.run()
    assert shown(one) == ["One", "So", "Two", "So"]
    assert contents(store) == ["One", "So", "Two", "So", "Zwei", "So"]


def test_a_tab_left_behind_says_so_and_shows_the_way(tab: Tab, store: RunStore) -> None:
    page = ask(tab(), "One")
    say_elsewhere(store, "Two")
    page.run()
    assert shown(page) == ["One", "So"]
    assert "went on in another tab: 2 messages" in words(page)
    click(page, "chat-other-tab")
    assert shown(page) == ["One", "So", "Two", "Else"]
    assert "went on in another tab" not in words(page)


def test_a_tab_that_stays_where_it_is_is_told_of_the_next_change_only(tab: Tab, store: RunStore) -> None:
    page = ask(tab(), "One")
    first = only(store).path()[-1].id
    say_elsewhere(store, "Two")
    page.run()
    click(page, "chat-stay")
    assert shown(page) == ["One", "So"]
    assert "went on in another tab" not in words(page)
    say_elsewhere(store, "Three", after=first)
    page.run()
    assert "went on in another tab: 2 messages" in words(page)


def test_a_conversation_opened_anew_is_shown_as_it_was_last_shown(tab: Tab, store: RunStore) -> None:
    page = ask(tab(), "One")
    say_elsewhere(store, "Two")
    click(page, "chat-new")
    click(page, f"chat-open-{only(store).id}")
    assert shown(page) == ["One", "So", "Two", "Else"]
    assert "went on in another tab" not in words(page)


def test_branches_turned_to_in_one_tab_turn_nothing_in_the_other(tab: Tab, store: RunStore) -> None:
    one = ask(tab(), "One")
    click(one, f"chat-again-{only(store).leaf_id}")
    two = tab()
    click(one, f"chat-previous-{only(store).leaf_id}")
    two.run()
    assert ("1 of 2" in words(one), "2 of 2" in words(two)) == (True, True)


# --- at once -----------------------------------------------------------------------------------------


def test_two_tabs_that_answer_at_once_both_keep_what_they_got(tab: Tab, store: RunStore, scripted: Busy) -> None:
    page = ask(tab(), "One")
    asked = only(store).messages[0].id
    scripted.tokens = ("Thus",)
    scripted.meanwhile = lambda: answer_elsewhere(store, only(store), asked)
    click(page, f"chat-again-{only(store).leaf_id}")
    assert shown(page) == ["One", "Thus"]
    assert [m.content for m in only(store).children(asked)] == ["So", "Else", "Thus"]
    assert "went on in another tab: 1 message" in words(page)
    assert all(m.run_id for m in only(store).children(asked))


def test_a_turn_that_another_tab_is_being_answered_is_not_called_unanswered(
    tab: Tab, store: RunStore, scripted: Busy
) -> None:
    page = ask(tab(), "One")
    there = only(store)
    asked = store.chat.append(there.id, there.leaf_id, "user", "Two")
    turn = chat.begin_turn(store, there, asked, salt="elsewhere")
    events = stream(FakeEngine(["Else"]), store, turn.lane.request, person_id="elsewhere", group_id=asked)
    turn.lane.take(next(events))
    page.run()
    click(page, "chat-other-tab")
    assert "being answered in another tab" in words(page)
    for event in events:
        turn.lane.take(event)
    chat.keep_answer(store, turn)
    page.run()
    click(page, "chat-other-tab")
    assert shown(page) == ["One", "So", "Two", "Else"]


def test_an_answer_that_the_other_tab_died_over_is_added_once(tab: Tab, store: RunStore) -> None:
    page = ask(tab(), "One")
    there = only(store)
    asked = store.chat.append(there.id, there.leaf_id, "user", "Two")
    for word in ("Else", "Other"):
        turn = chat.begin_turn(store, there, asked, salt="elsewhere")
        list(stream(FakeEngine([word]), store, turn.lane.request, person_id="elsewhere", group_id=asked))
    page.run()
    click(page, "chat-other-tab")
    page.run()
    assert [m.content for m in only(store).children(asked)] == ["Else", "Other"]
    assert shown(page) == ["One", "So", "Two", "Other"]


def test_a_tab_opened_anew_goes_on_showing_the_answer_that_is_being_written(
    tab: Tab, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ask(tab(), "One")
    there = only(store)
    asked = chat.say(store.chat, there, "Two")
    turn = chat.begin_turn(store, there, asked, salt="me")
    anew = open_app(monkeypatch, store, "pages/chat.py")
    anew.session_state[TAB_ID] = "me"
    gate = threading.Event()
    slow = FakeEngine(["Still", " here"], gate=gate)
    resources.get_races().start(turn, person="me", place=asked, engine=slow, store=store)
    threading.Timer(0.5, gate.set).start()
    anew.query_params["chat"] = there.id
    anew.run()
    assert not anew.exception
    assert turn.kept
    assert shown(anew) == ["One", "So", "Two", "Still here"]
    turn.why_stopped = "Nobody had looked at it."
    anew.run()
    assert "Nobody had looked at it." in words(anew)
    page.run()
    assert shown(page) == ["One", "So"], "another person's tab stays where it is"
    assert "went on in another tab" in words(page)


# --- deleted and renamed -----------------------------------------------------------------------------


def test_an_answer_whose_conversation_is_deleted_meanwhile_is_found_among_the_runs(
    tab: Tab, store: RunStore, scripted: Busy
) -> None:
    page = ask(tab(), "One")
    scripted.meanwhile = lambda: store.chat.delete(only(store).id)
    ask(page, "Two")
    assert "deleted in another tab while it was being answered" in words(page)
    run = store.page().rows[0]
    assert (run.status, store.get(run.id).text) == (RunStatus.FINISHED, "So")
    assert f"run={run.id}" in [link.proto.query_string for link in page.get("page_link")]
    page.run()
    ask(page, "Three")
    assert "deleted in another tab" not in words(page)
    assert shown(page) == ["Three", "So"]


def test_a_conversation_renamed_while_it_is_answered_has_both(tab: Tab, store: RunStore, scripted: Busy) -> None:
    page = ask(tab(), "One")
    there = only(store)
    scripted.meanwhile = lambda: store.chat.rename(there.id, "Uno")
    ask(page, "Two")
    assert page.title[0].value == "Uno"
    assert page.text_input(key=f"chat-title-{there.id}").value == "Uno"
    assert shown(page) == ["One", "So", "Two", "So"]


@pytest.mark.parametrize("what", ["send", "again", "edit", "branch", "rename"])
def test_whatever_is_clicked_in_a_conversation_that_is_gone_is_told_in_words(
    tab: Tab, store: RunStore, what: str
) -> None:
    page = ask(ask(tab(), "One"), "Two")
    there = only(store)
    click(page, f"chat-edit-{there.messages[0].id}") if what == "edit" else None
    store.chat.delete(there.id)
    match what:
        case "send":
            ask(page, "Precious words")
            # the box is given them back: sent again, they begin a new conversation
            assert page.chat_input(key=chat_session.INPUT).proto.value == "Precious words"
        case "again":
            click(page, f"chat-again-{there.leaf_id}")
        case "edit":
            click(page, "chat-save-edit")
        case "branch":
            click(page, f"chat-branch-{there.messages[1].id}")
        case "rename":
            page.text_input(key=f"chat-title-{there.id}").set_value("Uno").run()
    assert not page.exception
    assert "no longer there" in words(page)
    assert page.title[0].value == "Chat"


def test_what_cannot_be_sent_stays_in_the_box(tab: Tab, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise StoreError("The run database is locked.")

    page = ask(tab(), "One")
    with monkeypatch.context() as locked:
        locked.setattr(store.chat, "append", refuse)
        ask(page, "Precious words")
    assert "The run database is locked." in words(page)
    assert page.chat_input(key=chat_session.INPUT).proto.value == "Precious words"
    assert contents(store) == ["One", "So"]


def test_a_tab_whose_turn_failed_says_so_though_another_tab_was_answered(
    tab: Tab, store: RunStore, scripted: Busy
) -> None:
    page = ask(tab(), "One")
    asked = only(store).messages[0].id
    scripted.failure = ModelNotInstalledError("Install it first.")
    scripted.meanwhile = lambda: answer_elsewhere(store, only(store), asked)
    click(page, f"chat-again-{only(store).leaf_id}")
    assert "Install it first." in words(page)
    click(page, "chat-forward")
    assert shown(page) == ["One", "Else"]
