"""Conversations that come in from a file: kept with their branches, and what Chat exported is what comes back."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from app.chat.conversations import to_json, to_jsonl
from app.chat.importing import keep_conversations, read_file, title_in_chat
from app.store import Conversation, NewConversation, NewMessage, RunStore
from engine.types import OptimizationConfig, Precision, RunConfig, SamplingParams

USUAL = RunConfig(model="usual")
OWN = RunConfig(
    model="own", optimization=OptimizationConfig.at(Precision.INT4), sampling=SamplingParams(stop=("x",), seed=3)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda text: text.strip() == text
)


@st.composite
def trees(draw: st.DrawFn) -> NewConversation:
    """A conversation whose first message is a user's, and whose roles alternate from there."""
    messages: list[NewMessage] = []
    for place in range(draw(st.integers(1, 7))):
        parent = None if place == 0 else draw(st.none() | st.integers(0, place - 1))
        asks = parent is None or messages[parent].role == "assistant"
        ids = () if asks else tuple(draw(st.lists(st.integers(0, 200_000), max_size=3)))
        role = "user" if asks else "assistant"
        messages.append(NewMessage(role=role, content=draw(TEXTS), parent=parent, token_ids=ids))
    return NewConversation(
        title=draw(TEXTS.filter(lambda text: " ".join(text.split()) == text)),
        config=OWN.to_dict(),
        system=draw(st.just("") | TEXTS),
        messages=tuple(messages),
        leaf=draw(st.integers(0, len(messages) - 1)),
    )


def as_tree(kept: Conversation, message_id: str | None = None) -> object:
    """What was said after a message, in its branches."""
    return [
        (each.role, each.content, each.token_ids, each.id == kept.leaf_id, as_tree(kept, each.id))
        for each in kept.children(message_id)
    ]


def test_what_is_too_much_at_once_is_left_out_in_words() -> None:
    turns = [{"role": "user", "content": "x"}] * 10_000
    found = read_file("a.json", json.dumps([{"messages": turns}] * 11 + [{"messages": turns[:1]}]).encode())
    assert len(found.conversations) == 10
    assert [str(each).partition(":")[0] for each in found.left_out] == [
        f"entry {n} is beyond the first 100,000 messages" for n in (11, 12)
    ]
    found = read_file("a.json", json.dumps([{"messages": turns[:1]}] * 5_001).encode())
    assert [str(each) for each in found.left_out] == ["entry 5,001 is beyond the first 5,000 conversations"]


def test_what_chat_exports_comes_back_the_same(store: RunStore) -> None:
    @settings(max_examples=25)
    @given(trees())
    def comes_back(whole: NewConversation) -> None:
        (first,) = store.chat.add([whole])
        exported = store.chat.get(first)
        found = read_file("gearbox-chat.json", to_json(exported).encode())
        assert (found.form, found.left_out) == ("Gearbox", ())
        (second,) = keep_conversations(store.chat, found.conversations, USUAL)
        back = store.chat.get(second)
        assert (back.title, back.system, back.created_at) == (exported.title, exported.system, exported.created_at)
        assert RunConfig.from_dict(back.config) == OWN
        assert as_tree(back) == as_tree(exported)

    comes_back()


def test_a_branch_exported_as_lines_comes_back_as_a_conversation(store: RunStore) -> None:
    chat_id = store.chat.create("Sky", USUAL.to_dict(), "Be brief.")
    asked = store.chat.append(chat_id, None, "user", "Why?")
    store.chat.append(chat_id, asked, "assistant", "So.")
    (found,) = read_file("a.jsonl", to_jsonl(store.chat.get(chat_id)).encode()).conversations
    (back,) = keep_conversations(store.chat, [found], USUAL)
    kept = store.chat.get(back)
    assert (kept.title, kept.system) == ("Why?", "Be brief.")
    assert [(each.role, each.content) for each in kept.path()] == [("user", "Why?"), ("assistant", "So.")]


def test_a_configuration_that_this_version_cannot_read_gives_way_to_the_usual_one(store: RunStore) -> None:
    tree = {
        "messages": [{"id": "a", "parent_id": None, "role": "user", "content": "Hi there"}],
        "config": {"model": "m", "optimization": {"quantization": {"precision": "int3"}}},
    }
    (found,) = read_file("a.json", json.dumps(tree).encode()).conversations
    assert title_in_chat(found) == "Hi there"
    (kept,) = keep_conversations(store.chat, [found], USUAL)
    assert RunConfig.from_dict(store.chat.get(kept).config) == USUAL
