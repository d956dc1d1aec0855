"""Addresses of OpenAI-compatible servers: what is one, and where a key may be sent."""

from __future__ import annotations

import pytest

from app.remote.address import base_of, endpoint_of, host_of, same_origin, shows_key
from engine.errors import InvalidRequestError

KEY = "sk-of-a-test"


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/?a=b#c"])
def test_an_address_is_of_the_server_or_of_its_api(url: str) -> None:
    assert base_of(url, "GEARBOX_API_KEY") == "http://h:1/v1"
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
    ("url", "shown"),
    [
        ("http://localhost:8000/v1", False),
        ("http://127.0.0.9/v1", False),
        ("http://[::1]:8000/v1", False),
        ("https://api.example.com/v1", False),
        ("http://api.example.com/v1", True),
        ("http://192.168.1.5:8000/v1", True),
        ("http://localhost.example.com/v1", True),
    ],
)
def test_a_key_can_be_read_on_its_way_where_it_leaves_this_machine_without_tls(url: str, shown: bool) -> None:
    assert shows_key(url) is shown


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("https://h/else/v1", True),
        ("https://h:443/v1", True),
        ("https://h:8443/v1", False),
        ("http://h/v1", False),
        ("https://h.example.com/v1", False),
    ],
)
def test_a_key_belongs_to_scheme_host_and_port(other: str, same: bool) -> None:
    assert same_origin("https://h/v1", other) is same


def test_a_host_is_told_with_its_port() -> None:
    assert host_of("http://office.lan:8000/v1") == "office.lan:8000"
