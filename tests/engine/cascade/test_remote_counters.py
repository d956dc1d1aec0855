"""A server's counters beside a ladder: nobody waits for them, and reading them is no part of a tier's time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import perf_counter, sleep

from engine.types import RunFinished
from tests.engine.cascade.test_remote_tiers import LOCAL, REMOTE, ask, finish, sure
from tests.support.misbehaving_server import MisbehavingServer, whole
from tests.support.remotes import Servers, report_of

LOOK_S = 0.15


def test_a_cascade_that_is_cancelled_before_its_server_is_asked_ends_as_cancelled(servers: Servers) -> None:
    looked_at = threading.Event()

    def script(_: str) -> Iterator[bytes]:
        looked_at.set()
        server.is_over(30)
        yield b""

    with MisbehavingServer(script) as server:
        servers.add(server.url, metrics_url=server.url.replace("/v1", "/metrics"))
        generation = servers.engine.generate(ask(REMOTE, LOCAL))
        assert looked_at.wait(10)
        generation.cancel()
        *_, last = generation
    assert isinstance(last, RunFinished), last
    assert last.finish_reason == "abort"
    report = report_of(last)
    assert (report.attempts, report.counted, report.prompt_counted) == (0, False, False)


def test_reading_the_counters_is_no_part_of_a_tiers_time(servers: Servers) -> None:
    looks = []

    def script(request: str) -> Iterator[bytes]:
        if not request.startswith("GET /metrics"):
            return sure(-0.01)(request)
        sleep(LOOK_S)
        looks.append(LOOK_S)
        return whole("200 OK", "llamacpp:tokens_predicted_total 5\n")(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url, metrics_url=server.url.replace("/v1", "/metrics"))
        begun = perf_counter()
        _, report, _ = finish(servers, ask(REMOTE, LOCAL))
        took_s = perf_counter() - begun
    assert report.attempts[0].kept
    assert len(looks) == 2
    assert report.attempts[0].seconds <= took_s - sum(looks)
