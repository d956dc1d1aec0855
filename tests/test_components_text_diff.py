from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.components.text_diff import Part, diff_words, shared_words

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
