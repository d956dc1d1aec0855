"""Conversations as other programs export them: read whole, with their branches, and as prompts."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from app.experiments.planning.writing import own_prompts
from app.prompts.columns import convert, guess
from app.prompts.conversations.reading import Conversations, read_conversations
from app.prompts.conversations.said import ForeignConversation
from app.prompts.dialogues import Turns
from app.prompts.forms import convert_published
from app.prompts.gathering import gather
from app.prompts.tables import MOST_PROMPTS, read_table
from app.quantization.tasks import tasks_sha256
from app.store import Pass, RunStore
from engine import Task
from engine.errors import InvalidRequestError
from engine.evaluation.tasks import read_history
from engine.types import Message, Precision
from tests.support.experiments import design


def owui_message(id: str, parent: str | None, role: str, content: str) -> dict[str, Any]:
    return {"id": id, "parentId": parent, "childrenIds": [], "role": role, "content": content, "timestamp": 1722}


OPEN_WEBUI = {
    "id": "c1",
    "user_id": "u",
    "title": "Rain",
    "created_at": 1722509521,
    "chat": {
        "title": "Rain",
        "models": ["qwen"],
        "params": {"system": "Be short."},
        "history": {
            "currentId": "a2",
            "messages": {
                "q": owui_message("q", None, "user", "A haiku about rain."),
                "a1": owui_message("a1", "q", "assistant", "Drip."),
                "a2": owui_message("a2", "q", "assistant", '<details type="reasoning" done="true">hm</details>\nDrop.'),
                "q2": owui_message("q2", "a1", "user", "Longer."),
            },
        },
        "messages": [],
    },
}


def lm_version(role: str, text: str) -> dict[str, Any]:
    return {"type": "singleStep", "role": role, "content": [{"type": "text", "text": text}]}


def lm_answer(*texts: str) -> dict[str, Any]:
    thought = {"type": "contentBlock", "style": {"type": "thinking"}, "content": [{"type": "text", "text": "hm"}]}
    blocks = [{"type": "contentBlock", "content": [{"type": "text", "text": text}]} for text in texts]
    return {"type": "multiStep", "role": "assistant", "steps": [thought, *blocks, {"type": "debugInfoBlock"}]}


LM_STUDIO = {
    "name": "Unnamed Chat",
    "createdAt": 1732000000000,
    "systemPrompt": "Old",
    "perChatPredictionConfig": {"fields": [{"key": "llm.prediction.systemPrompt", "value": "Be kind."}]},
    "messages": [
        {"versions": [lm_version("user", "Hello?")], "currentlySelected": 0},
        {"versions": [lm_answer("No."), lm_answer("Yes.", "Really.")], "currentlySelected": 1},
        {"versions": [lm_version("user", "Go on.")], "currentlySelected": 0},
    ],
}
CHATGPT: dict[str, Any] = {
    "title": "Tides",
    "create_time": 1697000000.5,
    "current_node": "n3",
    "mapping": {
        "root": {"id": "root", "message": None, "parent": None, "children": ["n1"]},
        "n1": {"message": {"author": {"role": "system"}, "content": {"parts": [""]}}, "parent": "root"},
        "n2": {"message": {"author": {"role": "user"}, "content": {"parts": ["Why tides?", {}]}}, "parent": "n1"},
        "t": {"message": {"author": {"role": "tool"}, "content": {"parts": ["42"]}}, "parent": "n2"},
        "n3": {"message": {"author": {"role": "assistant"}, "content": {"parts": ["The moon."]}}, "parent": "t"},
    },
}


def read(*rows: Any) -> Conversations:
    return read_conversations(read_table("chats.json", json.dumps(list(rows)).encode()))


def shown(found: ForeignConversation) -> list[tuple[str, str]]:
    return [(each.role, each.content) for each in found.path()]


def test_open_webui_keeps_branches_and_the_one_on_view_and_leaves_thoughts_out() -> None:
    found = read(OPEN_WEBUI)
    (one,) = found.conversations
    assert (found.form, one.title, one.system, one.branches) == ("Open WebUI", "Rain", "Be short.", 2)
    assert shown(one) == [("user", "A haiku about rain."), ("assistant", "Drop.")]
    assert one.created_at is not None
    assert one.created_at.year == 2024
    assert [(each.content, each.parent) for each in one.messages] == [
        ("A haiku about rain.", None), ("Drip.", 0), ("Longer.", 1), ("Drop.", 0),
    ]  # fmt: skip


def test_an_old_export_of_open_webui_is_the_chat_alone() -> None:
    (one,) = read(OPEN_WEBUI["chat"]).conversations
    assert (one.title, one.branches) == ("Rain", 2)


def test_lm_studio_keeps_other_versions_as_branches_without_thoughts() -> None:
    (one,) = read(LM_STUDIO).conversations
    assert (one.title, one.system, one.branches) == ("Unnamed Chat", "Be kind.", 2)
    assert shown(one) == [("user", "Hello?"), ("assistant", "Yes.\n\nReally."), ("user", "Go on.")]
    assert one.messages[1].content == "No."
    assert one.created_at is not None
    assert one.created_at.year == 2024


def test_of_chatgpt_tools_and_empty_nodes_are_passed_over() -> None:
    (one,) = read(CHATGPT).conversations
    assert shown(one) == [("user", "Why tides?"), ("assistant", "The moon.")]
    assert one.left_out == 2


def test_of_chatgpt_what_a_model_writes_to_a_tool_is_no_answer() -> None:
    call = {"author": {"role": "assistant"}, "recipient": "python", "content": {"parts": ["6 * 7"]}}
    answer = {**CHATGPT["mapping"]["n3"]["message"], "recipient": "all"}
    nodes = {"call": {"message": call, "parent": "n2"}, "n3": {"message": answer, "parent": "call"}}
    (one,) = read({**CHATGPT, "mapping": {**CHATGPT["mapping"], **nodes}}).conversations
    assert shown(one) == [("user", "Why tides?"), ("assistant", "The moon.")]


def test_a_message_a_line_is_one_conversation_though_one_only_calls_a_tool() -> None:
    lines: list[dict[str, Any]] = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a"}]},
    ]
    table = read_table("chat.jsonl", "\n".join(map(json.dumps, lines)).encode())
    (one,) = read_conversations(table).conversations
    assert (one.system, shown(one)) == ("Be short.", [("user", "Hi")])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"chat": {"history": {"messages": {}}}}, "no message of a user"),
        (
            {"chat": {"history": {"messages": {
                "a": owui_message("a", "b", "user", "x"), "b": owui_message("b", "a", "user", "y"),
            }}}},
            "follow each other in a circle",
        ),
        ({"conversations": [{"from": "human", "value": "Hi"}]}, "no conversation as Open WebUI has them"),
        ({"chat": {"messages": [{"role": "user", "content": "x"}] * 10_001}}, "at most 10,000 are read"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out_by_its_place_with_why(row: dict[str, Any], why: str) -> None:
    found = read(OPEN_WEBUI, row)
    assert len(found.conversations) == 1
    (left_out,) = found.left_out
    assert str(left_out).startswith("entry 2 cannot be read, because ")
    assert why in str(left_out)


@pytest.mark.parametrize("noise", [None, 3, "x", [], {}, [None], {"a": 1}, [{"versions": 1}], True])
@pytest.mark.parametrize("key", ["chat", "mapping", "messages", "history", "conversations", "body"])
def test_no_shape_of_a_part_breaks_the_reading(key: str, noise: Any) -> None:
    for row in (OPEN_WEBUI, LM_STUDIO, CHATGPT, OPEN_WEBUI["chat"]):
        found = read(row, {**row, key: noise}, {key: noise, "messages": [{"versions": [noise]}]})
        assert 1 <= len(found.conversations) <= 3


def test_a_file_without_conversations_says_what_is_read() -> None:
    with pytest.raises(InvalidRequestError, match="Open WebUI, LM Studio"):
        read({"prompt": "Hi"})


def test_a_prompt_with_a_history_is_kept_with_it_and_asked_after_it(store: RunStore) -> None:
    (task,) = convert_published(read_table("chat.json", json.dumps(LM_STUDIO).encode())).tasks
    store.router.keep_set(tasks_sha256([task]), "Chats", [task])
    (kept,) = store.router.tasks(tasks_sha256([task]))
    assert kept == task
    made = design([task], passes=[Pass.QUALITY])
    asked = made.request(made.quality_cells(0)[0], task, "x")
    assert asked.messages == task.messages == kept.request("m", Precision.BF16).messages
    again = read_table("own.jsonl", own_prompts(made).encode())  # type: ignore[union-attr]
    assert convert(again, guess(again)).tasks == (task,)


def test_a_history_changes_the_identity_of_a_set_and_its_absence_does_not() -> None:
    task = Task(id="a", category="b", prompt="c", max_tokens=8)
    assert "history" not in task.to_dict()
    said = replace(task, history=(Message("system", "Be short."),))
    assert tasks_sha256([task]) != tasks_sha256([said])
    assert Task.from_dict(said.to_dict()) == said


@pytest.mark.parametrize("history", [[{"role": "tool", "content": "x"}], [3], "x", [{"role": "user"}], None])
def test_what_is_no_history_is_refused(history: Any) -> None:
    with pytest.raises(InvalidRequestError, match="list of messages, each with a role"):
        read_history(history)


@pytest.mark.parametrize(
    ("turns", "asked"),
    [(Turns.LAST, ["Go on."]), (Turns.FIRST, ["Hello?"]), (Turns.EVERY, ["Hello?", "Go on."])],
)
def test_as_prompts_the_messages_asked_come_after_what_was_said_before(turns: Turns, asked: list[str]) -> None:
    table = read_table("chat.json", json.dumps(LM_STUDIO).encode())
    tasks = convert_published(table, turns).tasks
    assert [task.prompt for task in tasks] == asked
    assert {task.history[0].content for task in tasks} == {"Be kind."}
    if turns is not Turns.FIRST:
        assert [message.role for message in tasks[-1].messages] == ["system", "user", "assistant", "user"]
        assert tasks[-1].transcript.endswith("Assistant: Yes.\n\nReally.\n\nUser: Go on.")
    assert len({task.template for task in tasks}) == 1


def test_a_conversation_whose_histories_grow_too_large_together_is_left_out_where_every_message_is_asked() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "x" * 20_000}] * 100
    rows = [{"messages": turns}, {"messages": turns[:2]}]
    table = read_table("chats.json", json.dumps(rows).encode())
    found = convert_published(table, Turns.EVERY)
    assert len(found.tasks) == 1
    (left_out,) = map(str, found.left_out)
    assert left_out.startswith("entry 1 cannot be asked, because what was said before its messages comes to 95 MB")
    assert len(convert_published(table, Turns.LAST).tasks) == 2


def test_prompts_are_made_no_further_than_they_are_taken() -> None:
    made = count()
    task = Task(id="", category="", prompt="", max_tokens=8)
    table = read_table("a.txt", b"one\ntwo\n")
    found = gather(table, lambda row, _: (replace(task, id=f"{row.place}{n}", prompt=f"{n}") for n in made))
    assert len(found.tasks) == MOST_PROMPTS
    assert next(made) == MOST_PROMPTS + 1
    assert [str(each) for each in found.left_out] == [f"line {n} is beyond the first 5,000 prompts" for n in (1, 2)]


def test_a_batch_gives_the_tokens_that_its_calls_ask_for_and_reads_responses_too() -> None:
    chat = {"model": "m", "max_completion_tokens": 40, "messages": [{"role": "user", "content": "Hi"}]}
    response = {"model": "m", "instructions": "Be short.", "input": "Why?"}
    rows = [
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat},
        {"custom_id": "b", "method": "POST", "url": "/v1/responses", "body": response},
        {"custom_id": "c", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": 5}},
    ]
    found = convert_published(read_table("batch.jsonl", "\n".join(map(json.dumps, rows)).encode()))
    assert [(task.id, task.prompt, task.max_tokens) for task in found.tasks] == [("a", "Hi", 40), ("b", "Why?", 256)]
    assert found.tasks[1].history[0].content == "Be short."
    assert [str(row) for row in found.left_out] == [
        "line 3 cannot be asked, because its call of /v1/embeddings has no messages"
    ]
