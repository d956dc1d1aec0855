"""What is searched for, as the index is asked for it. The index narrows; the texts themselves decide."""

from __future__ import annotations

SHORTEST = 3
"""Characters of a text that the index can be asked for: it holds pieces of three."""
_MOST_PIECES = 24
"""Of a long text, which is not found sooner by more."""


def pieces(needle: str) -> tuple[str, ...]:
    """The pieces of three characters that every text with the needle in it has; none where it is too short."""
    found = tuple(dict.fromkeys(needle[start : start + SHORTEST] for start in range(len(needle) - SHORTEST + 1)))
    step = -(-len(found) // _MOST_PIECES)
    return found[:: step or 1]


def match_query(needle: str) -> str:
    """The same for FTS5: all pieces, each quoted, so that nothing in them is taken for FTS5's query language."""
    return " ".join('"' + piece.replace('"', '""') + '"' for piece in pieces(needle))
