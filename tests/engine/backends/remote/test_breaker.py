"""The circuit breaker: it opens, lets one through after a while, and closes once that one is answered."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from engine.backends.remote import exchange
from engine.backends.remote.breaker import FAILURES_TO_OPEN, OPEN_S, Breaker, RestingError
from engine.types import BreakerState
from tests.support.misbehaving_server import STREAM_HEAD, MisbehavingServer
from tests.support.remotes import Servers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with breaker.admitted("@office") as admission:
            admission.failed("down")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("office:8000", clock)


def test_it_opens_after_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, FAILURES_TO_OPEN - 1)
    with breaker.admitted("@office") as admission:
        admission.reached()
    fail(breaker, FAILURES_TO_OPEN - 1)
    assert breaker.status().state is BreakerState.CLOSED
    fail(breaker)
    with pytest.raises(RestingError) as resting, breaker.admitted("@office"):
        pass
    assert (resting.value.failures, resting.value.left_s) == (FAILURES_TO_OPEN, OPEN_S)
    status = breaker.status()
    assert (status.state, status.last_error, status.running) == (BreakerState.OPEN, "down", 0)
    assert status.requests == status.failures + 1 == 2 * FAILURES_TO_OPEN


def test_after_a_while_one_is_let_through_and_decides(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES_TO_OPEN)
    clock.now = OPEN_S
    assert breaker.status().state is BreakerState.HALF_OPEN
    with breaker.admitted("@office") as admission:
        with pytest.raises(RestingError), breaker.admitted("@office"):
            pass
        admission.failed("down")
    assert breaker.status().retry_in_s == OPEN_S, "it is open for as long again"
    clock.now = 2 * OPEN_S
    with breaker.admitted("@office") as admission:
        admission.reached()
    assert breaker.status().state is BreakerState.CLOSED


def test_one_that_is_given_up_decides_nothing(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, FAILURES_TO_OPEN)
    clock.now = OPEN_S
    with breaker.admitted("@office"):
        pass
    with breaker.admitted("@office") as admission:
        assert admission.is_trial


def test_a_server_that_is_down_is_not_asked_any_more(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_BACKOFF_S", (0.0, 0.0))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    servers.add(f"http://127.0.0.1:{port}/v1", connect_timeout_s=0.1)
    for _ in range(FAILURES_TO_OPEN):
        servers.failure()
    assert f"has failed {FAILURES_TO_OPEN} times in a row and is not asked for another" in servers.failure()
    (status,) = servers.engine.remote_status()
    assert (status.state, status.requests) == (BreakerState.OPEN, FAILURES_TO_OPEN)


def test_a_server_that_hangs_after_its_headers_is_not_asked_any_more(servers: Servers) -> None:
    def script(_: str) -> Iterator[bytes]:
        yield STREAM_HEAD
        server.is_over(30)

    with MisbehavingServer(script) as server:
        servers.add(server.url, read_timeout_s=0.1)
        for _ in range(FAILURES_TO_OPEN):
            assert "sent nothing of an answer" in servers.failure()
        assert "is not asked for another" in servers.failure()
        assert len(server.requests) == FAILURES_TO_OPEN
