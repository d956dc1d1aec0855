"""What a server lists, and what is said where it lists nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.backends.remote import list_served
from engine.errors import RemoteError
from tests.support.scripted_server import ScriptedServer

KEY = "sk-of-a-test"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def test_models_are_listed_in_their_order_each_once(server: ScriptedServer) -> None:
    server.models = {"data": [{"id": "b"}, {"id": "a"}, {"id": "b"}, {"name": "c"}, "d", {"id": 7}]}
    assert list_served(f"{server.url}/v1", KEY) == ("b", "a")
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    list_served(f"{server.url}/v1", None)
    assert "authorization" not in server.headers[-1]


def test_names_that_cannot_be_shown_or_kept_are_left_out(server: ScriptedServer) -> None:
    hostile = ["\x1b]0;owned\x07", "a\nb", "\u202eb", "", " ", "m" * 201]
    server.models = {"data": [{"id": each} for each in (*hostile, "m" * 200, "größe")]}
    assert list_served(f"{server.url}/v1", None) == ("m" * 200, "größe")


@pytest.mark.parametrize(
    ("status", "models", "said"),
    [
        (401, {"error": {"message": f"Bad key {KEY}"}}, r"refuses the key \(HTTP 401\): Bad key …"),
        (404, {"detail": "Not Found"}, "HTTP 404"),
        (307, {}, "HTTP 307"),  # the key goes nowhere else
        (200, {"models": []}, "lists no models"),
        (200, ["m"], "lists no models"),
        (200, {"data": "m"}, "lists no models"),
        (200, {"data": [{"id": "m", "more": "a" * 2_000_000}]}, "no end"),
    ],
)
def test_what_is_no_list_is_told_without_the_key(
    server: ScriptedServer, status: int, models: object, said: str
) -> None:
    server.models, server.models_status = models, status
    with pytest.raises(RemoteError, match=said) as refused:
        list_served(f"{server.url}/v1", KEY)
    assert KEY not in str(refused.value)
    assert len(server.headers) == 1


def test_nobody_there_is_told() -> None:
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:9 cannot be reached"):
        list_served("http://127.0.0.1:9/v1", None)
