"""Whether a text has some words as words of their own, in any script.

Most scripts put spaces between words, so "Paris" is not in "Parisian". Chinese, Japanese, Thai, Lao, Khmer and
Burmese put none, so 北京 is in 答案是北京。 and no border can be asked for. Korean puts its particles right after a
word: 서울 is in 서울은, and not in 남서울.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from enum import Enum, auto
from functools import lru_cache

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F),  # Myanmar
    (0x1780, 0x17FF), (0x19E0, 0x19FF),  # Khmer
    (0x1950, 0x19DF), (0x1A20, 0x1AAF),  # Tai Le, New Tai Lue, Tai Tham
    (0x1B00, 0x1B7F), (0xA980, 0xA9DF),  # Balinese, Javanese
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),  # Han
    (0x3040, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F),  # kana, bopomofo
)  # fmt: skip
_HANGUL = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF))
_SIGNS = "-+−"
_JOINERS = "\u200c\u200d"
"""They stand inside words of Persian and of India's scripts."""


def plain(text: str) -> str:
    """A text in lower case, composed characters, one space where there was white space."""
    return " ".join(unicodedata.normalize("NFC", text.casefold()).split())


def has_words(text: str, words: str) -> bool:
    """Whether a text has ``words`` as words of their own; both as :func:`plain` gives them."""
    return next(places(text, words), None) is not None


def places(text: str, words: str) -> Iterator[int]:
    """Where ``words`` begin in ``text`` as words of their own; both as :func:`plain` gives them."""
    at = text.find(words) if words else -1
    while at >= 0:
        if _begins(text, at) and _ends(text, at + len(words)):
            yield at
        at = text.find(words, at + 1)


class _Kind(Enum):
    """What a character is to its neighbours."""

    SPACED = auto()
    """Of a script that sets words apart by spaces, a digit among them, or an underscore."""
    UNSPACED = auto()
    HANGUL = auto()
    MARK = auto()
    """Belongs to the letter before it: an accent, a vowel sign, a joiner."""
    OTHER = auto()
    """Of no word."""


@lru_cache(maxsize=4096)
def _kind(character: str) -> _Kind:
    if unicodedata.category(character).startswith("M") or character in _JOINERS:
        return _Kind.MARK
    if not character.isalnum() and character != "_":
        return _Kind.OTHER
    code = ord(character)
    if any(first <= code <= last for first, last in _HANGUL):
        return _Kind.HANGUL
    return _Kind.UNSPACED if any(first <= code <= last for first, last in _UNSPACED) else _Kind.SPACED


def _begins(text: str, at: int) -> bool:
    """Whether a word may begin at a place."""
    if at == 0:
        return True
    before, first = _kind(text[at - 1]), _kind(text[at])
    if text[at] in _SIGNS and text[at + 1 : at + 2].isdigit():  # a sign after a word or a number is a dash
        return before is _Kind.OTHER
    if _Kind.OTHER in (before, first) or _Kind.UNSPACED in (before, first):
        return True
    return (before is _Kind.HANGUL) is not (first is _Kind.HANGUL)


def _ends(text: str, at: int) -> bool:
    """Whether a word may end before a place."""
    if at == len(text):
        return True
    last, after = _kind(text[at - 1]), _kind(text[at])
    if after is _Kind.MARK:
        return last is _Kind.OTHER
    return not ({last, after} <= {_Kind.SPACED, _Kind.MARK})
