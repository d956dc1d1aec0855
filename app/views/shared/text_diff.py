"""Two answers compared word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import Literal

from app.views.shared.segments import Category, Hue, Line, Segment, show_segments

Change = Literal["same", "added", "removed", "uncompared"]

# A word carries the white space before it, so that a change of indentation belongs to the word it moves.
_WORD = re.compile(r"\s*\S+|\s+\Z")

MOST_WORDS = 10_000
"""That are compared of each text."""
ADDED = Category("only here", Hue.BLUE, Line.UNDERLINE, 0.3)
REMOVED = Category("only in the first", Hue.ORANGE, Line.STRIKE, 0.2)
UNCOMPARED = Category(f"not compared (beyond {MOST_WORDS:,} words)", Hue.GRAY, Line.DOTTED, 0.2)
_CATEGORIES: dict[Change, Category | None] = {
    "same": None,
    "added": ADDED,
    "removed": REMOVED,
    "uncompared": UNCOMPARED,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A run of words that are the same in both texts, only in one of them, or beyond what is compared."""

    change: Change
    text: str


def diff_words(first: str, other: str) -> tuple[Part, ...]:
    """How ``other`` differs from ``first``: as many words as possible, in their order, are the same.

    The parts that are not removed give ``other`` exactly, character by character. Spaces alone make no
    difference; line breaks and indentation do. Between the texts' common beginning and common end,
    :data:`MOST_WORDS` words of each are compared; what ``other`` has after them is "uncompared".
    """
    a, b = _WORD.findall(first), _WORD.findall(other)
    a_keys, b_keys = list(map(_key, a)), list(map(_key, b))
    start = _common_start(a_keys, b_keys)
    end = _common_start(a_keys[start:][::-1], b_keys[start:][::-1])
    a_end, b_end = len(a) - end, len(b) - end
    a_cut, b_cut = min(a_end, start + MOST_WORDS), min(b_end, start + MOST_WORDS)
    pairs = [(start + i, start + j) for i, j in _longest_common(a_keys[start:a_cut], b_keys[start:b_cut])]

    parts = [Part("same", "".join(b[:start]))]
    i = j = start
    for same_i, same_j in [*pairs, (a_cut, b_cut)]:
        parts += [Part("removed", "".join(a[i:same_i])), Part("added", "".join(b[j:same_j]))]
        i, j = same_i + 1, same_j + 1
        parts.append(Part("same", b[same_j] if same_j < b_cut else ""))
    rest = "".join(b[b_cut:b_end])
    parts += [Part("uncompared", rest) if rest else Part("removed", "".join(a[a_cut:a_end]))]
    parts.append(Part("same", "".join(b[b_end:])))
    runs = groupby((part for part in parts if part.text), key=lambda part: part.change)
    return tuple(Part(change, "".join(part.text for part in run)) for change, run in runs)


def _common_start(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _longest_common(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """The places of a longest common subsequence, by Hyyrö's bit-parallel recurrence: a row of the table, one bit for
    each word of ``a``, is one integer, so len(a) · len(b) / 64 steps are all it takes whatever the words."""
    at: dict[str, int] = {}
    for place, word in enumerate(a):
        at[word] = at.get(word, 0) | 1 << place
    ones = (1 << len(a)) - 1
    row, rows = ones, []  # a bit is 0 where one more word of ``a`` makes the subsequence longer
    for word in b:
        matching = row & at.get(word, 0)
        row = ((row + matching) | (row - matching)) & ones
        rows.append(row)
    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if rows[j - 1] >> (i - 1) & 1:
            i -= 1
        elif j > 1 and not rows[j - 2] >> (i - 1) & 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def shared_words(parts: Sequence[Part]) -> float | None:
    """The share of the compared words, of both texts together, that are the same; ``None`` if both are empty."""
    same, changed = 0, 0
    for part in parts:
        words = len(part.text.split())
        if part.change == "same":
            same += 2 * words
        elif part.change != "uncompared":
            changed += words
    return same / (same + changed) if same + changed else None


def show_diff(parts: Sequence[Part], *, key: str, label: str, title: str = "") -> None:
    """Draw one text with what it adds underlined and what it lacks struck through."""
    cut = (UNCOMPARED,) if any(part.change == "uncompared" for part in parts) else ()
    show_segments(list(_segments(parts)), key=key, label=label, title=title, categories=(ADDED, REMOVED, *cut))


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
