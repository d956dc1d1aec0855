"""What is shown of addresses that have secrets in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.addresses import all_parts, login_and_query, without, without_login

SECRET = st.text("abcXYZ0123456789é%", min_size=3, max_size=12)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://c:4318", "http://c:4318"),
        ("https://user:token@host:4318/v1/traces", "https://host:4318/v1/traces"),
        ("https://host/v1?api-key=token&to=https://elsewhere", "https://host/v1"),
        ("https://host/v1#token", "https://host/v1"),
        ("user:token@host:4318", "host:4318"),
        ("https://user:to/k@en@host", "https://host"),
        ("http://[", "http://["),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_login(url) == shown


@given(SECRET, SECRET)
def test_no_secret_is_shown_or_left_in_a_text(password: str, key: str) -> None:
    url = f"https://u:{password}@-/-?-={key}"
    assert without_login(url) == "https://-/-"
    left = without(f"({password})({key})", login_and_query(url))
    assert left == "(…)(…)"


@pytest.mark.parametrize("url", ["tgram://123456789:AAtoken/chat", "http://[AAtoken", "x://h/?q=AAtoken", "AAtoken"])
def test_of_a_channel_every_part_is_a_secret(url: str) -> None:
    assert "token" not in without("Unauthorized: AAtoken", all_parts(url))
