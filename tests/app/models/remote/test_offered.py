"""What a server lists, and what is said where it lists nothing."""

from __future__ import annotations

import pytest

from app.background.jobs import Jobs
from app.models.remote.offered import Offers, ServerError, served_models
from engine.errors import InvalidRequestError
from tests.support.scripted_server import ScriptedServer
from tests.support.waiting import until

KEY = "sk-of-a-test"


def test_models_are_listed_in_their_order_each_once(server: ScriptedServer) -> None:
    server.models = {"data": [{"id": "b"}, {"id": "a"}, {"id": "b"}, {"name": "c"}, "d", {"id": 7}]}
    assert served_models(f"{server.url}/v1", KEY) == ("b", "a")
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"
    served_models(f"{server.url}/v1", None)
    assert "authorization" not in server.headers[-1]


def test_names_that_cannot_be_shown_or_kept_are_left_out(server: ScriptedServer) -> None:
    hostile = ["\x1b]0;owned\x07", "a\nb", "\u202eb", "", " ", "m" * 201]
    server.models = {"data": [{"id": each} for each in (*hostile, "m" * 200, "größe")]}
    assert served_models(f"{server.url}/v1", None) == ("m" * 200, "größe")


@pytest.mark.parametrize(
    ("status", "models", "said"),
    [
        (401, {"error": {"message": f"Bad key {KEY}"}}, "HTTP 401 Bad key …"),
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
    with pytest.raises(ServerError, match=said) as refused:
        served_models(f"{server.url}/v1", KEY)
    assert KEY not in str(refused.value)
    assert len(server.headers) == 1


def test_nobody_there_is_told() -> None:
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9 cannot be reached"):
        served_models("http://127.0.0.1:9/v1", None)


def test_a_look_goes_on_in_the_background_and_belongs_to_whoever_asked(server: ScriptedServer, jobs: Jobs) -> None:
    offers = Offers(jobs)
    with pytest.raises(InvalidRequestError, match="password"):
        offers.look("anna", "http://a:b@h", "")
    offers.look("anna", server.url, KEY)
    base = f"{server.url}/v1"
    until(lambda: offers.found("anna", base) is not None)
    found = offers.found("anna", base)
    assert found is not None
    assert (found.url, found.models) == (base, ("m",))
    assert offers.found("bert", base) is None
    assert offers.found("anna", "http://h/v1") is None
    assert offers.state("anna", "http://h/v1") is None
    server.models_status = 401
    offers.look("anna", server.url, KEY)
    until(lambda: (state := offers.state("anna", base)) is not None and state.error is not None)
