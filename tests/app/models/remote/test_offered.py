"""Looking at what a server lists, for whoever asked."""

from __future__ import annotations

import pytest

from app.background.jobs import Jobs
from app.models.remote.offered import Offers
from engine.errors import InvalidRequestError
from tests.support.scripted_server import ScriptedServer
from tests.support.waiting import until

KEY = "sk-of-a-test"


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
