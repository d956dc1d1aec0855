"""What kept sequences have in common, as a tree of messages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from engine import KeptSequence


@dataclass(slots=True)
class Node:
    """One message after the same beginning, shared by all sequences below it."""

    id: str
    parent: str
    """Empty for a message that sequences begin with."""
    role: str
    text: str
    sequences: int = 0
    saved_s: float = 0.0
    """Derived: prefill that the hits of all sequences below have saved."""


def prefix_tree(sequences: Sequence[KeptSequence]) -> list[Node]:
    """The messages of sequences, those with the same beginning joined; parents come before their children."""
    nodes: dict[str, Node] = {}
    for sequence in sequences:
        path = f"{sequence.weights_sha256} {sequence.precision}"
        parent = ""
        for message in sequence.messages:
            path = hashlib.sha256(f"{path}\x00{message.role}\x00{message.content}".encode()).hexdigest()
            node = nodes.setdefault(path, Node(path, parent, message.role, message.content))
            node.sequences += 1
            node.saved_s += sequence.saved_s
            parent = path
    return list(nodes.values())
