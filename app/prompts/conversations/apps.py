"""How programs export the conversations that people have in them: Open WebUI, LM Studio, ChatGPT, and Gearbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.prompts.conversations.said import ForeignConversation, Node, conversation, in_a_row, moment_of, spoken

_REASONING, _REASONED = '<details type="reasoning"', "</details>"
_SYSTEM_FIELD = "llm.prediction.systemPrompt"
_MOST_TOKEN_ID = 2**31


def open_webui(row: Mapping[str, Any]) -> ForeignConversation:
    """A chat of Open WebUI's export, whose ``history`` is a tree by ids; old exports have the chat alone. A chat
    without a history has its messages in a row. What a model thought first is left out, as Open WebUI does when it
    asks on.

    Raises:
        ValueError: it is none. So says every function here; the message is a clause.
    """
    chat = row.get("chat") if isinstance(row.get("chat"), dict) else row
    assert isinstance(chat, dict)
    history = chat.get("history")
    kept = history.get("messages") if isinstance(history, dict) else None
    if isinstance(kept, dict) and kept:
        leaf = history.get("currentId") if isinstance(history, dict) else None
        nodes = [
            Node(id, _id_of(each.get("parentId")), str(each.get("role")), _answer(each.get("content")))
            for id, each in kept.items()
            if isinstance(each, dict)
        ]
    else:
        leaf, nodes = None, in_a_row(_turns(chat.get("messages")))
    settings = chat.get("params")
    system = settings.get("system") if isinstance(settings, dict) else chat.get("system")
    return conversation(
        _title(chat.get("title") or row.get("title")),
        nodes,
        system=system if isinstance(system, str) else "",
        leaf=_id_of(leaf),
        created_at=moment_of(row.get("created_at")) or moment_of(chat.get("timestamp")),
    )


def lm_studio(row: Mapping[str, Any]) -> ForeignConversation:
    """LM Studio's conversation file: messages in a row, each in several versions of which one is selected; what follows
    follows that one. A model's thoughts and calls of tools are left out."""
    nodes: list[Node] = []
    before: str | None = None
    for place, message in enumerate(row["messages"]):
        versions = message.get("versions") if isinstance(message, dict) else None
        if not isinstance(versions, list) or not versions:
            raise ValueError(f"its message {place + 1:,} has no versions")
        selected = message.get("currentlySelected", 0)
        selected = selected if isinstance(selected, int) and 0 <= selected < len(versions) else 0
        nodes += [_version(each, f"{place}.{n}", before) for n, each in enumerate(versions) if isinstance(each, dict)]
        before = f"{place}.{selected}"
    return conversation(
        _title(row.get("name")),
        nodes,
        system=_lm_studio_system(row),
        leaf=before,
        created_at=moment_of(row.get("createdAt")),
    )


def chatgpt(row: Mapping[str, Any]) -> ForeignConversation:
    """A conversation of ChatGPT's data export: a ``mapping`` of nodes, some of them without a message. What a model
    wrote to a tool, its ``recipient``, is left out."""
    nodes: list[Node] = []
    for id, each in row["mapping"].items():
        if not isinstance(each, dict):
            raise ValueError("a node of its mapping is no object")
        message = each.get("message")
        author, content = (message.get("author"), message.get("content")) if isinstance(message, dict) else ({}, {})
        role = author.get("role") if isinstance(author, dict) else ""
        parts = content.get("parts") if isinstance(content, dict) else None
        texts = [part for part in parts if isinstance(part, str)] if isinstance(parts, list) else []
        if isinstance(message, dict) and role == "assistant" and message.get("recipient") not in (None, "all"):
            texts = []
        nodes.append(Node(id, _id_of(each.get("parent")), str(role), "\n".join(texts)))
    return conversation(
        _title(row.get("title")),
        nodes,
        leaf=_id_of(row.get("current_node")),
        created_at=moment_of(row.get("create_time")),
    )


def gearbox(row: Mapping[str, Any]) -> ForeignConversation:
    """What Chat exports as JSON (:func:`app.chat.conversations.to_json`), without the runs that wrote its answers."""
    nodes = [
        Node(
            str(each.get("id")),
            _id_of(each.get("parent_id")),
            str(each.get("role")),
            each["content"] if isinstance(each.get("content"), str) else "",
            _token_ids(each.get("token_ids")),
        )
        for each in row["messages"]
        if isinstance(each, dict)
    ]
    config, began = row.get("config"), row.get("created_at")
    try:
        created_at = datetime.fromisoformat(began) if isinstance(began, str) else None
    except ValueError:
        created_at = None
    return conversation(
        _title(row.get("title")),
        nodes,
        system=row["system"] if isinstance(row.get("system"), str) else "",
        leaf=_id_of(row.get("leaf_id")),
        created_at=created_at if created_at and created_at.tzinfo else None,
        config=config if isinstance(config, dict) else None,
    )


def _version(version: Mapping[str, Any], id: str, before: str | None) -> Node:
    steps = version.get("steps")
    if not isinstance(steps, list):
        return Node(id, before, str(version.get("role")), spoken(version.get("content")))
    texts = [spoken(each.get("content")) for each in steps if isinstance(each, dict) and _is_answer(each)]
    return Node(id, before, str(version.get("role")), "\n\n".join(filter(None, texts)))


def _is_answer(step: Mapping[str, Any]) -> bool:
    style = step.get("style")
    thinks = isinstance(style, dict) and style.get("type") == "thinking"
    return step.get("type") == "contentBlock" and not thinks


def _lm_studio_system(row: Mapping[str, Any]) -> str:
    config = row.get("perChatPredictionConfig")
    fields = config.get("fields") if isinstance(config, dict) else None
    for each in fields if isinstance(fields, list) else ():
        if isinstance(each, dict) and each.get("key") == _SYSTEM_FIELD and isinstance(each.get("value"), str):
            return str(each["value"])
    system = row.get("systemPrompt")
    return system if isinstance(system, str) else ""


def _answer(content: Any) -> str:
    """A message's text, without what a model thought first."""
    text, kept, at = spoken(content), list[str](), 0
    while (start := text.find(_REASONING, at)) >= 0 and (end := text.find(_REASONED, start)) >= 0:
        kept.append(text[at:start])
        at = end + len(_REASONED)
    return "".join([*kept, text[at:]]).strip()


def _turns(messages: Any) -> Sequence[tuple[str, str]]:
    turns = messages if isinstance(messages, list) else []
    return [(str(each.get("role")), _answer(each.get("content"))) for each in turns if isinstance(each, dict)]


def _token_ids(value: Any) -> tuple[int, ...]:
    known = isinstance(value, list) and all(type(id) is int and 0 <= id < _MOST_TOKEN_ID for id in value)
    return tuple(value) if known else ()


def _title(title: Any) -> str:
    return " ".join(title.split()) if isinstance(title, str) else ""


def _id_of(value: Any) -> str | None:
    return value if isinstance(value, str) else None
