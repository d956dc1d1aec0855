"""Conversations kept: a tree that only grows, each of whose branches begins at a first message."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.store import ConversationNotFoundError, RunStore, StoreError, TurnTiming
from tests.support.fakes import make_request
from tests.support.stores import new_database
from tests.support.ui import add_run

CONFIG = json.loads(json.dumps(make_request().config.to_dict()))


def test_a_conversation_comes_back_as_it_was_kept(store: RunStore) -> None:
    run_id = add_run(store)
    chat_id = store.chat.create("Sky", CONFIG, "Be brief.")
    asked = store.chat.append(chat_id, None, "user", "Why ☃?")
    answer = store.chat.append(chat_id, asked, "assistant", "Snow.", token_ids=(5, 70_000, 5), run_id=run_id)
    kept = store.chat.get(chat_id)
    assert (kept.title, kept.config, kept.system, kept.leaf_id) == ("Sky", CONFIG, "Be brief.", answer)
    first, second = kept.path()
    assert (first.role, first.content, first.token_ids, first.run_id) == ("user", "Why ☃?", (), None)
    assert (second.role, second.content, second.token_ids, second.run_id) == (
        "assistant",
        "Snow.",
        (5, 70_000, 5),
        run_id,
    )
    assert second.to_message().token_ids == (5, 70_000, 5)


def test_the_conversation_changed_last_is_listed_first(store: RunStore) -> None:
    old, new = (store.chat.create(title, CONFIG) for title in ("Old", "New"))
    assert [chat.id for chat in store.chat.conversations()] == [new, old]
    store.chat.append(old, None, "user", "Hi")
    assert [chat.id for chat in store.chat.conversations()] == [old, new]
    assert [chat.id for chat in store.chat.conversations(limit=1)] == [old]


def test_all_of_three_hundred_are_reached_page_by_page_newest_first(store: RunStore) -> None:
    made = [store.chat.create(f"Chat {number}", CONFIG) for number in range(300)]
    assert store.chat.count() == 300
    pages = [store.chat.conversations(limit=25, offset=25 * number) for number in range(13)]
    assert [len(page) for page in pages] == [25] * 12 + [0]
    assert [chat.id for page in pages for chat in page] == made[::-1]


def titles(store: RunStore, text: str) -> list[str]:
    found = store.chat.conversations(text)
    assert store.chat.count(text) == len(found)
    return [chat.title for chat in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["Straße", "100% sure", "snake_case", "snake case", "Café au lait"]),
        ("  ", ["Straße", "100% sure", "snake_case", "snake case", "Café au lait"]),
        ("CAFE", ["Café au lait"]),
        ("cafe\u0301", ["Café au lait"]),
        ("STRASSE", ["Straße"]),
        ("%", ["100% sure"]),
        ("_", ["snake_case"]),
        ("snake", ["snake_case", "snake case"]),
        ("snake_", ["snake_case"]),
        ("/", []),
        ("\\", []),
        ("'", []),
        ("\ud83d", []),
        ("a\0b", []),
    ],
)
def test_a_search_takes_letters_without_case_and_accents_and_all_else_as_it_stands(
    store: RunStore, text: str, found: list[str]
) -> None:
    for title in ("Café au lait", "snake case", "snake_case", "100% sure", "Straße"):
        store.chat.create(title, CONFIG)
    assert titles(store, text) == found


def test_a_search_looks_into_the_messages_of_every_branch(store: RunStore) -> None:
    store.chat.create("Other", CONFIG)
    chat_id = store.chat.create("Sky", CONFIG)
    asked = store.chat.append(chat_id, None, "user", "Why is the sky blue?")
    store.chat.append(chat_id, asked, "assistant", "RAYLEIGH scattering.")
    store.chat.append(chat_id, None, "user", "À bientôt")
    assert titles(store, "rayleigh") == titles(store, "a bientot") == titles(store, "sky") == ["Sky"]


@given(st.text(max_size=20), st.text(max_size=5), st.text(max_size=5))
def test_whatever_stands_in_a_title_finds_it(part: str, before: str, after: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore.open(new_database(Path(folder, "runs.db")))
        store.chat.create(f"{before}{part}{after}", CONFIG)
        assert store.chat.count(part) == 1
        store.close()


def test_the_state_tells_of_new_messages_a_new_title_and_the_end(store: RunStore) -> None:
    chat_id = store.chat.create("Sky", CONFIG)
    assert store.chat.state_of(chat_id) == ("Sky", 0)
    store.chat.append(chat_id, None, "user", "Why?")
    store.chat.rename(chat_id, "Blue")
    assert store.chat.state_of(chat_id) == ("Blue", 1)
    store.chat.delete(chat_id)
    assert store.chat.state_of(chat_id) is None


def test_an_answer_outlives_its_run(store: RunStore) -> None:
    run_id = add_run(store)
    chat_id = store.chat.create("Sky", CONFIG)
    asked = store.chat.append(chat_id, None, "user", "Why?")
    store.chat.append(chat_id, asked, "assistant", "So.", token_ids=(1,), run_id=run_id)
    store.delete([run_id])
    late = store.chat.append(chat_id, asked, "assistant", "Thus.", run_id=run_id)
    kept = store.chat.get(chat_id)
    assert [(m.content, m.token_ids, m.run_id) for m in kept.siblings(kept.path(late)[1])] == [
        ("So.", (1,), None),
        ("Thus.", (), None),
    ]


def test_deleting_a_conversation_leaves_runs_and_other_conversations(store: RunStore) -> None:
    run_id = add_run(store)
    gone, stays = (store.chat.create(title, CONFIG) for title in ("Gone", "Stays"))
    for chat_id in (gone, stays):
        asked = store.chat.append(chat_id, None, "user", "Why?")
        store.chat.append(chat_id, asked, "assistant", "So.", run_id=run_id)
    store.chat.delete(gone)
    assert [chat.id for chat in store.chat.conversations()] == [stays]
    assert len(store.chat.get(stays).messages) == 2
    assert store.get(run_id).id == run_id


def test_what_a_run_wrote_is_added_once(store: RunStore) -> None:
    run_id = add_run(store)
    chat_id = store.chat.create("Sky", CONFIG)
    asked = store.chat.append(chat_id, None, "user", "Why?")
    first = store.chat.append(chat_id, asked, "assistant", "So.", run_id=run_id)
    other = store.chat.append(chat_id, asked, "assistant", "Thus.")
    assert store.chat.append(chat_id, asked, "assistant", "So.", run_id=run_id) == first
    kept = store.chat.get(chat_id)
    assert ([m.content for m in kept.messages], kept.leaf_id) == (["Why?", "So.", "Thus."], other)


def test_timings_are_kept_by_turn_and_setting_and_go_with_the_conversation(store: RunStore) -> None:
    chat_id, stays = (store.chat.create(title, CONFIG) for title in ("Gone", "Stays"))
    asked, other = (store.chat.append(of, None, "user", "Why?") for of in (chat_id, stays))
    slow, quick = (
        TurnTiming(ttft_s=ttft_s, prompt_tokens=40, cached_tokens=30, environment={"cpu": "x"}) for ttft_s in (0.5, 0.1)
    )
    store.chat.keep_timing(chat_id, asked, "kv", slow)
    store.chat.keep_timing(chat_id, asked, "prefix", slow)
    store.chat.keep_timing(chat_id, asked, "prefix", quick)
    store.chat.keep_timing(stays, other, "kv", slow)
    assert store.chat.timings(chat_id) == {(asked, "kv"): slow, (asked, "prefix"): quick}
    store.chat.delete(chat_id)
    assert store.chat.timings(chat_id) == {}
    assert store.chat.timings(stays) == {(other, "kv"): slow}
    with pytest.raises(StoreError, match="no longer part"):
        store.chat.keep_timing(stays, asked, "kv", slow)


def test_settings_and_title_can_change(store: RunStore) -> None:
    chat_id = store.chat.create("x" * 200, CONFIG)
    assert len(store.chat.get(chat_id).title) == 80
    store.chat.rename(chat_id, "  Rain \n and snow ")
    other = {**CONFIG, "model": "other"}
    store.chat.configure(chat_id, other, "Be kind.")
    kept = store.chat.get(chat_id)
    assert (kept.title, kept.config, kept.system) == ("Rain and snow", other, "Be kind.")
    for title in ("", "  ", "x" * 81):
        with pytest.raises(StoreError, match="1 to 80"):
            store.chat.rename(chat_id, title)


def test_what_is_not_there_is_refused(store: RunStore) -> None:
    chat_id, other = (store.chat.create(title, CONFIG) for title in "ab")
    message = store.chat.append(other, None, "user", "Hi")
    with pytest.raises(StoreError, match="no longer part"):
        store.chat.append(chat_id, message, "assistant", "Hello")
    with pytest.raises(StoreError, match="no longer part"):
        store.chat.set_leaf(chat_id, message)
    store.chat.delete(other)
    for ask in (
        lambda: store.chat.get(other),
        lambda: store.chat.append(other, None, "user", "Hi"),
        lambda: store.chat.rename(other, "x"),
        lambda: store.chat.configure(other, CONFIG, ""),
    ):
        with pytest.raises(ConversationNotFoundError):
            ask()


class NoMessageIsLost(RuleBasedStateMachine):
    """Whatever is said, edited, answered anew, branched, switched to and reopened: it is all there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.url = new_database(Path(self.folder.name, "runs.db"))
        self.store = RunStore.open(self.url)
        self.chat_id = self.store.chat.create("T", CONFIG)
        self.said: dict[str, tuple[str | None, str, tuple[int, ...]]] = {}

    @rule(after=st.integers(0, 99), text=st.text(st.characters(codec="utf-8", exclude_characters="\0")))
    def say(self, after: int, text: str) -> None:
        answers = [None, *(m.id for m in self.store.chat.get(self.chat_id).messages if m.role == "assistant")]
        parent = answers[after % len(answers)]
        self.said[self.store.chat.append(self.chat_id, parent, "user", text)] = (parent, text, ())

    @rule(to=st.integers(0, 99), token_ids=st.lists(st.integers(0, 200_000)).map(tuple))
    def answer(self, to: int, token_ids: tuple[int, ...]) -> None:
        turns = [m.id for m in self.store.chat.get(self.chat_id).messages if m.role == "user"]
        if turns:
            parent = turns[to % len(turns)]
            added = self.store.chat.append(self.chat_id, parent, "assistant", "A", token_ids=token_ids)
            self.said[added] = (parent, "A", token_ids)

    @rule(to=st.integers(0, 99))
    def switch(self, to: int) -> None:
        kept = self.store.chat.get(self.chat_id)
        if kept.messages:
            leaf = kept.newest_leaf(kept.messages[to % len(kept.messages)].id)
            self.store.chat.set_leaf(self.chat_id, leaf)
            assert not kept.children(leaf)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RunStore.open(self.url)

    @invariant()
    def every_message_is_there(self) -> None:
        kept = self.store.chat.get(self.chat_id)
        assert {m.id: (m.parent_id, m.content, m.token_ids) for m in kept.messages} == self.said

    @invariant()
    def every_branch_begins_at_a_first_message_and_takes_turns(self) -> None:
        kept = self.store.chat.get(self.chat_id)
        for message in kept.messages:
            path = kept.path(message.id)
            assert path[0].parent_id is None
            assert path[-1] == message
            assert [m.role for m in path] == ["user", "assistant"] * (len(path) // 2) + ["user"] * (len(path) % 2)
            assert message in kept.siblings(message)
        assert (kept.leaf_id is None) == (not kept.messages)

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


TestNoMessageIsLost = NoMessageIsLost.TestCase
TestNoMessageIsLost.settings = settings(max_examples=15, stateful_step_count=12)
