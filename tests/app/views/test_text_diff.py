from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.views.shared.text_diff import MOST_WORDS, Part, diff_words, shared_words

WORDY = st.text(alphabet="ab \n\t", max_size=40)


def test_changed_words_are_marked_and_the_rest_is_not() -> None:
    assert diff_words("a quick brown fox", "a quick red fox") == (
        Part("same", "a quick"),
        Part("removed", " brown"),
        Part("added", " red"),
        Part("same", " fox"),
    )


def test_the_same_text_has_no_differences() -> None:
    assert diff_words("one two\n\nthree ", "one two\n\nthree ") == (Part("same", "one two\n\nthree "),)


def test_spaces_make_no_difference_but_indentation_does() -> None:
    assert [part.change for part in diff_words("a  b", "a b")] == ["same"]
    assert "added" in [part.change for part in diff_words("if x:\n  y", "if x:\n    y")]


@given(WORDY, WORDY)
def test_what_is_not_removed_is_the_other_text(first: str, other: str) -> None:
    assert "".join(part.text for part in diff_words(first, other) if part.change != "removed") == other


@given(WORDY, WORDY)
def test_every_word_of_the_first_text_is_kept_or_removed(first: str, other: str) -> None:
    kept = "".join(part.text for part in diff_words(first, other) if part.change != "added")
    assert kept.split() == first.split()


def test_the_share_of_words_in_common_counts_both_texts() -> None:
    assert shared_words(diff_words("a b", "a c")) == 0.5
    assert shared_words(diff_words("a b", "a b")) == 1.0
    assert shared_words(diff_words("", "")) is None


def test_repeated_words_find_their_partners() -> None:
    parts = diff_words("the cat and the dog", "the dog and the cat")
    assert shared_words(parts) == 0.6


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_as_many_words_as_possible_are_the_same(first: list[str], other: list[str]) -> None:
    longest = max(
        (len(some) for size in range(len(first) + 1) for some in combinations(first, size) if is_within(some, other)),
    )
    parts = diff_words(" ".join(first), " ".join(other))
    assert sum(len(part.text.split()) for part in parts if part.change == "same") == longest


def is_within(some: Sequence[str], other: Sequence[str]) -> bool:
    rest = iter(other)
    return all(word in rest for word in some)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["A ", "a b ", "1\u00a0", "\n", "``` ", "x\n\n"])
def test_texts_of_a_megabyte_are_compared_in_bounded_time(unit: str) -> None:
    first = unit * (10**6 // len(unit))
    other = first[::-1] + "end " + unit * 5
    parts = diff_words(first, other)
    assert "".join(part.text for part in parts if part.change != "removed") == other


def test_words_beyond_what_is_compared_say_so() -> None:
    first, other = (" ".join(f"{letter}{n}" for n in range(MOST_WORDS + 500)) for letter in "ab")
    parts = diff_words(f"Same {first} end", f"Same {other} end")
    assert [part.change for part in parts] == ["same", "removed", "added", "uncompared", "same"]
    assert len(parts[3].text.split()) == 500
    assert shared_words(parts) == pytest.approx(4 / (4 + 2 * MOST_WORDS))
