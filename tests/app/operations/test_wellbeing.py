"""Servers among what decides whether all is well."""

from __future__ import annotations

import pytest

from app.operations.wellbeing import Grade, of_servers
from app.views.operations.live import server_words
from engine.types import BreakerState, RemoteStatus

WELL = RemoteStatus(
    server="office.lan:8000",
    state=BreakerState.CLOSED,
    running=1,
    requests=20,
    failures=1,
    failures_in_row=0,
    last_error="It timed out.",
    models=("@office",),
)


def down(state: BreakerState) -> RemoteStatus:
    return RemoteStatus(
        server="office.lan:8000",
        state=state,
        running=0,
        requests=20,
        failures=5,
        failures_in_row=5,
        last_error="It cannot be reached: <refused>.",
        retry_in_s=25.0,
        models=("@office",),
    )


def test_a_server_that_answers_is_no_concern() -> None:
    assert of_servers([WELL]) == []
    assert "answers" in server_words(WELL)
    assert "1 of 20 requests failed" in server_words(WELL)
    assert "timed out" not in server_words(WELL)


@pytest.mark.parametrize("state", [BreakerState.OPEN, BreakerState.HALF_OPEN])
def test_one_that_failed_again_and_again_is(state: BreakerState) -> None:
    (concern,) = of_servers([WELL, down(state)])
    assert concern.grade is Grade.BAD
    assert concern.words == "@office (office.lan:8000) does not answer: It cannot be reached: <refused>."
    words = server_words(down(state))
    assert "about 25 s" in words
    assert "\\<refused>" in words
