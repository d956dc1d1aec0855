"""Two answers compared word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from app.components.segments import Category, Hue, Line, Segment, show_segments

Change = Literal["same", "added", "removed"]

# A word carries the white space before it, so that a change of indentation belongs to the word it moves.
_WORD = re.compile(r"\s*\S+|\s+\Z")

ADDED = Category("only here", Hue.BLUE, Line.UNDERLINE, 0.3)
REMOVED = Category("only in the first", Hue.ORANGE, Line.STRIKE, 0.2)
_CATEGORIES: dict[Change, Category | None] = {"same": None, "added": ADDED, "removed": REMOVED}


@dataclass(frozen=True, slots=True)
class Part:
    """A run of words that are the same in both texts, or only in one of them."""

    change: Change
    text: str


def diff_words(first: str, other: str) -> tuple[Part, ...]:
    """How ``other`` differs from ``first``.

    The parts that are not removed give ``other`` exactly, character by character. Spaces alone make no
    difference; line breaks and indentation do.
    """
    a, b = _WORD.findall(first), _WORD.findall(other)
    matcher = SequenceMatcher(None, [_key(word) for word in a], [_key(word) for word in b], autojunk=False)
    parts: list[Part] = []
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            parts.append(Part("same", "".join(b[b0:b1])))
            continue
        if a1 > a0:
            parts.append(Part("removed", "".join(a[a0:a1])))
        if b1 > b0:
            parts.append(Part("added", "".join(b[b0:b1])))
    return tuple(parts)


def shared_words(parts: Sequence[Part]) -> float | None:
    """The share of words, of both texts together, that are the same; ``None`` if both are empty."""
    same, changed = 0, 0
    for part in parts:
        words = len(part.text.split())
        if part.change == "same":
            same += 2 * words
        else:
            changed += words
    return same / (same + changed) if same + changed else None


def show_diff(parts: Sequence[Part], *, key: str, label: str, title: str = "") -> None:
    """Draw one text with what it adds underlined and what it lacks struck through."""
    show_segments(list(_segments(parts)), key=key, label=label, title=title, categories=(ADDED, REMOVED))


def show_plain(text: str, *, key: str, label: str, title: str = "") -> None:
    """Draw a text that others are compared with, framed as they are."""
    show_segments([Segment(text)], key=key, label=label, title=title)


def _segments(parts: Sequence[Part]) -> Iterator[Segment]:
    for part in parts:
        bare = part.text.lstrip()
        category = _CATEGORIES[part.change]
        if category is None or not bare:
            yield Segment(part.text, category=category)
            continue
        yield Segment(part.text[: len(part.text) - len(bare)])
        yield Segment(bare, category=category)


def _key(word: str) -> str:
    bare = word.lstrip()
    space = word[: len(word) - len(bare)]
    return word if "\n" in space else bare
