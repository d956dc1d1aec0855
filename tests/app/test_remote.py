"""Addresses and keys of OpenAI-compatible servers, and what is shown of their errors."""

from __future__ import annotations

import pytest

from app.remote import MOST_SHOWN, endpoint_of, error_message, key_from, one_line
from engine.errors import InvalidRequestError

KEY = "sk-of-a-test"
NAMES = ("GEARBOX_API_KEY", "OPENAI_API_KEY")


def test_a_key_that_no_header_can_hold_is_refused_without_telling_it() -> None:
    assert key_from(NAMES, {}) is None
    assert key_from(NAMES, {"GEARBOX_API_KEY": " ", "OPENAI_API_KEY": f" {KEY}\n"}) == KEY
    for bad in (f"{KEY}\r\nX-Evil: 1", f"{KEY}ü"):
        with pytest.raises(InvalidRequestError, match="OPENAI_API_KEY") as refused:
            key_from(NAMES, {"OPENAI_API_KEY": bad})
        assert KEY not in str(refused.value)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/?a=b#c"])
def test_an_address_is_of_the_server_or_of_its_api(url: str) -> None:
    assert endpoint_of(url, "GEARBOX_API_KEY") == "http://h:1/v1/chat/completions"


def test_an_api_may_stand_anywhere() -> None:
    assert endpoint_of("https://h/openai/api", "GEARBOX_API_KEY") == "https://h/openai/api/chat/completions"


@pytest.mark.parametrize(
    "url", ["", "h:1", "ftp://h", "http://", "http://[", "/v1", "http://h:99999999", "http://h:x", "http://h ost"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="address"):
        endpoint_of(url, "GEARBOX_API_KEY")


def test_a_password_in_an_address_is_refused_without_telling_it() -> None:
    with pytest.raises(InvalidRequestError, match="Give a key in MY_KEY instead") as refused:
        endpoint_of(f"http://user:{KEY}@h", "MY_KEY")
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
