"""The Router lab's one verdict, in words."""

from __future__ import annotations

import pytest

from app.router.verdict import promise_in_words, promise_mark
from engine.cascade import Promise


def promise(*, shown: bool = False, more: int | None = None) -> Promise:
    return Promise(kind="quality", share=0.95, confidence=0.9, shown=shown, more_prompts=more)


@pytest.mark.parametrize(
    ("made", "mark"),
    [
        (None, ""),
        (promise(shown=True), ""),
        (promise(more=1200), "not shown yet, about 1,200 more prompts"),
        (promise(), "not shown"),
    ],
)
def test_a_promise_that_is_not_shown_is_marked_with_what_is_missing(made: Promise | None, mark: str) -> None:
    assert promise_mark(made) == mark


def test_a_promise_is_told_with_its_confidence() -> None:
    assert promise_in_words(promise()) == "keep at least 95 % of the large model's score (90 % confidence)"
