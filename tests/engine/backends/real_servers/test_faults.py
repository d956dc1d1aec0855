"""Servers that die and come back."""

from __future__ import annotations

import pytest

from engine.backends.remote import breaker
from engine.types import BreakerState, TokenEvent
from tests.support.real_servers import ENDLESS, Asked, Served

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


@pytest.fixture
def mortal(served: Served) -> Served:
    if not served.server.is_ours:
        pytest.skip(f"{served.software.name} was not started here, so it is not killed")
    return served


def test_a_server_that_dies_in_the_middle_of_an_answer_fails_the_run_and_is_asked_again(mortal: Served) -> None:
    asked = Asked()
    for event in mortal.engine.generate(mortal.request(ENDLESS, max_tokens=1500)):
        asked.events.append(event)
        if isinstance(event, TokenEvent) and len(asked.tokens) == 3:
            mortal.server.kill()
    mortal.server.start()
    assert "in the middle of the answer" in asked.failed.error
    assert len(asked.tokens) >= 3
    assert mortal.ask(max_tokens=2).text


def test_a_server_that_is_down_is_left_alone_until_it_is_back(mortal: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def state() -> BreakerState:
        return next(each.state for each in mortal.engine.remote_status() if each.server == mortal.model.server)

    mortal.ask(max_tokens=2)
    mortal.server.kill()
    messages = [mortal.ask(max_tokens=2).failed.error for _ in range(breaker.FAILURES_TO_OPEN)]
    opened, told = state(), mortal.ask(max_tokens=2).failed.error
    mortal.server.start()
    assert all(mortal.model.server in message for message in messages)
    assert opened is BreakerState.OPEN
    assert "is not asked" in told
    monkeypatch.setattr(breaker, "OPEN_S", 0.0)
    assert state() is BreakerState.HALF_OPEN
    assert mortal.ask(max_tokens=2).text
    assert state() is BreakerState.CLOSED
