"""A conversation from a file: what was said, and what it follows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

MOST_MESSAGES = 10_000
"""Of one conversation."""
_SECONDS_OF = 10**11
"""A time stamp above it counts milliseconds: as seconds it would lie beyond the year 5000."""
_SPEAKERS: Mapping[str, Literal["user", "assistant"]] = {
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant", "bot": "assistant",
}  # fmt: skip
_SYSTEM = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Said:
    """One message."""

    role: Literal["user", "assistant"]
    content: str
    parent: int | None
    """The place of what it follows; ``None`` for a first message."""
    token_ids: tuple[int, ...] = ()
    """The tokens an answer was written in, where the file has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignConversation:
    """All of a conversation."""

    title: str
    """Empty where the file gives none."""
    system: str
    """The system prompt; empty for none."""
    messages: tuple[Said, ...]
    """A parent comes before its children."""
    leaf: int
    """The place of the last message of the branch that was on view."""
    created_at: datetime | None = None
    config: Mapping[str, Any] | None = None
    """`RunConfig.to_dict` of what answers were asked for with, in Gearbox's own files."""
    left_out: int = 0
    """Messages without a text, or of tools."""

    @property
    def branches(self) -> int:
        """How many ends it has."""
        return len(self.messages) - len({each.parent for each in self.messages} - {None})

    def path(self) -> tuple[Said, ...]:
        """The branch on view, from its first message."""
        found: list[Said] = []
        at: int | None = self.leaf
        while at is not None:
            found.append(self.messages[at])
            at = found[-1].parent
        return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Node:
    """One message as it stands in a file."""

    id: str
    parent: str | None
    role: str
    content: str
    token_ids: tuple[int, ...] = ()


def in_a_row(turns: Sequence[tuple[str, str]]) -> list[Node]:
    """Messages that follow each other: who says it and what."""
    return [Node(str(n), str(n - 1) if n else None, role, text) for n, (role, text) in enumerate(turns)]


def conversation(
    title: str,
    nodes: Sequence[Node],
    *,
    system: str = "",
    leaf: str | None = None,
    created_at: datetime | None = None,
    config: Mapping[str, Any] | None = None,
) -> ForeignConversation:
    """The tree that messages make. What is no text of a user's or a model's is left out, and what followed it follows
    what was before it; system messages are the system prompt.

    Args:
        title: what lists call it; empty for none.
        nodes: every message; siblings in their order.
        system: the system prompt, where it stands apart.
        leaf: the last message of the branch on view; ``None``, or one that is left out, is the end of the newest one.
        created_at: when it began.
        config: what answers were asked for with.

    Raises:
        ValueError: nothing is left, there are too many messages, or they make no tree. The message is a clause.
    """
    if len(nodes) > MOST_MESSAGES:
        raise ValueError(f"it has {len(nodes):,} messages, and at most {MOST_MESSAGES:,} are read")
    by_id = {node.id: node for node in nodes}
    if len(by_id) < len(nodes):
        raise ValueError("two of its messages have the same id")
    systems, places = [system.strip()], dict[str, int | None]()
    said: list[Said] = []
    left_out = 0
    for node in _parents_first(nodes, by_id):
        before = places.get(node.parent) if node.parent else None
        role, text = node.role.casefold(), node.content.strip()
        speaker = _SPEAKERS.get(role)
        places[node.id] = before
        if role in _SYSTEM:
            systems.append(text)
        elif speaker is None or not text:
            left_out += 1
        else:
            places[node.id] = len(said)
            said.append(Said(speaker, node.content, before, node.token_ids))
    if not any(each.role == "user" for each in said):
        raise ValueError("it has no message of a user")
    on_view = places.get(leaf) if leaf else None
    return ForeignConversation(
        title=title,
        system="\n\n".join(dict.fromkeys(filter(None, systems))),
        messages=tuple(said),
        leaf=len(said) - 1 if on_view is None else on_view,
        created_at=created_at,
        config=config,
        left_out=left_out,
    )


def _parents_first(nodes: Sequence[Node], by_id: Mapping[str, Node]) -> Iterator[Node]:
    children: defaultdict[str | None, list[Node]] = defaultdict(list)
    for node in nodes:
        known = node.parent is not None and node.parent in by_id
        children[node.parent if known else None].append(node if known else replace(node, parent=None))
    waiting, seen = children[None][::-1], 0
    while waiting:
        node, seen = waiting.pop(), seen + 1
        yield node
        waiting.extend(reversed(children[node.id]))
    if seen < len(nodes):
        raise ValueError("some of its messages follow each other in a circle")


def spoken(content: Any) -> str:
    """A message's text, which several programs write as a list of parts."""
    if isinstance(content, list):
        parts = [each.get("text") for each in content if isinstance(each, dict) and str(each.get("type")) in _TEXTS]
        content = "\n".join(part for part in parts if isinstance(part, str))
    return content.strip() if isinstance(content, str) else ""


_TEXTS = ("text", "input_text", "output_text")


def moment_of(stamp: Any) -> datetime | None:
    """A time stamp in seconds, milliseconds or nanoseconds; ``None`` for what is none."""
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or stamp <= 0:
        return None
    while stamp > _SECONDS_OF:
        stamp /= 1000
    return datetime.fromtimestamp(stamp, UTC)
