"""Keys for servers, and what is shown of their errors."""

from __future__ import annotations

import pytest

from app.remote.keys import checked_key, key_from
from engine.backends.remote import MOST_SHOWN, error_message, one_line
from engine.errors import InvalidRequestError

KEY = "sk-of-a-test"
NAMES = ("GEARBOX_API_KEY", "OPENAI_API_KEY")


def test_a_key_that_no_header_can_hold_is_refused_without_telling_it() -> None:
    assert key_from(NAMES, {}) is None
    assert key_from(NAMES, {"GEARBOX_API_KEY": " ", "OPENAI_API_KEY": f" {KEY}\n"}) == KEY
    assert checked_key("  ", "the form") is None
    for bad in (f"{KEY}\r\nX-Evil: 1", f"{KEY}ü"):
        with pytest.raises(InvalidRequestError, match="OPENAI_API_KEY") as refused:
            key_from(NAMES, {"OPENAI_API_KEY": bad})
        assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [({"error": {"message": "No."}}, "No."), ({"error": "No."}, "No."), ({"message": "No."}, "No."), ([1], "[1]")],
)
def test_what_a_server_says_of_an_error_is_found(value: object, text: str) -> None:
    assert error_message(value) == text


def test_what_is_shown_is_one_short_line_without_the_key() -> None:
    assert one_line(f"Bad\nkey {KEY}\x00", KEY) == "Bad key …"
    assert len(one_line("a" * 9999, None)) == MOST_SHOWN
