"""What a server's counters say of a run, and where they say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from engine.backends.remote import counters
from engine.backends.remote.counters import Counters, parse_counters
from tests.support.misbehaving_server import MisbehavingServer, Script, counts, ends, says, stream, whole
from tests.support.remotes import Servers, metrics_of, report_of

VLLM = """
# HELP vllm:prefix_cache_hits_total Prefix cache hits, in terms of number of cached tokens.
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="served"} 128.0
vllm:prefix_cache_hits_total{engine="1",model_name="served"} 16.0
vllm:prefix_cache_hits_total{engine="0",model_name="other"} 999.0
vllm:spec_decode_num_draft_tokens_total{model_name="served"} 1e2
vllm:spec_decode_num_accepted_tokens_total{model_name="served"} 60
vllm:request_success_total{finished_reason="stop",model_name="served"} 3.0
vllm:request_success_total{finished_reason="length",model_name="served"} 4.0
vllm:e2e_request_latency_seconds_bucket{le="+Inf",model_name="served"} 7.0
nonsense
"""


def test_counters_of_one_model_are_summed_over_their_other_labels() -> None:
    assert parse_counters(VLLM, "served") == Counters(7, 144, 100, 60, None)
    assert parse_counters("nothing", "served") == Counters()
    assert parse_counters('vllm:prefix_cache_hits_total{a="x\\"}y"} NaN', "served") == Counters()


def test_a_counter_that_went_back_says_nothing() -> None:
    assert Counters(5, 10).since(Counters(4, 20)) == Counters(1, None)


def metered(requests: int, written: int | None = None) -> Script:
    """A server that counts 32 kept tokens, so many requests and so many tokens with each look at its counters."""
    looks = count(0)
    moved = {"prefix_cache_hits": 32, "spec_decode_num_draft_tokens": 9, "spec_decode_num_accepted_tokens": 6}
    moved |= {"request_success": requests} | ({} if written is None else {"generation_tokens": written})

    def script(request: str) -> Iterator[bytes]:
        if request.startswith("GET /metrics"):
            look = next(looks)
            lines = (f'vllm:{name}_total{{model_name="served"}} {by * look}' for name, by in moved.items())
            return whole("200 OK", "\n".join(lines) + "\n")(request)
        return stream(says("one"), ends(), counts(40, 3))(request)

    return script


@pytest.mark.parametrize(
    ("requests", "written", "shared"),
    [(1, None, False), (1, 3, False), (2, None, True), (2, 3, True), (1, 50, True), (0, 1, None), (0, 50, True)],
)
def test_what_others_moved_too_is_not_this_runs(
    servers: Servers, requests: int, written: int | None, shared: bool | None
) -> None:
    with MisbehavingServer(metered(requests, written)) as server:
        root = server.url.removesuffix("/v1")
        servers.add(server.url, metrics_url=f"{root}/metrics", key="secret")
        run = servers.finish()
    report, metrics = report_of(run), metrics_of(run)
    own = (32, 9, 6) if shared is False else (None, None, None)
    assert report.shared is shared
    assert (report.cached_tokens, report.drafted_tokens, report.accepted_tokens) == own
    assert (metrics.cached_tokens, metrics.drafted_tokens, metrics.accepted_tokens) == tuple(each or 0 for each in own)
    assert report.counts_from == ("metrics" if shared is False else None)
    assert "bearer secret" in server.requests[0].lower()


@pytest.mark.parametrize(("others", "shared"), [(0, False), (40, True)])
def test_where_no_requests_are_counted_the_tokens_written_tell_of_others(
    servers: Servers, others: int, shared: bool
) -> None:
    looks = count(0)

    def script(request: str) -> Iterator[bytes]:
        if request.startswith("GET /metrics"):
            return whole("200 OK", f"llamacpp:tokens_predicted_total {100 + (3 + others) * next(looks)}\n")(request)
        return stream(says("one"), ends(), counts(10, 3))(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url, metrics_url=server.url.replace("/v1", "/metrics"))
        assert report_of(servers.finish()).shared is shared


def test_what_the_answer_tells_goes_before_the_counters(servers: Servers) -> None:
    looks = count(0)
    usage = counts(10, 3, prompt_tokens_details={"cached_tokens": 8})

    def script(request: str) -> Iterator[bytes]:
        if request.startswith("GET /metrics"):
            look = next(looks)
            names = {"prefix_cache_hits": 99, "spec_decode_num_accepted_tokens": 2, "request_success": 1}
            return whole("200 OK", "".join(f"vllm:{name}_total {by * look}\n" for name, by in names.items()))(request)
        return stream(says("one"), ends(), usage)(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url, metrics_url=server.url.replace("/v1", "/metrics"))
        run = servers.finish()
    report, metrics = report_of(run), metrics_of(run)
    assert (report.cached_tokens, report.accepted_tokens, report.counts_from) == (8, 2, "usage")
    assert (metrics.cached_tokens, metrics.accepted_tokens) == (8, 2)


def test_the_key_is_not_sent_to_another_address(servers: Servers) -> None:
    with MisbehavingServer(metered(1)) as server, MisbehavingServer(metered(1)) as other:
        servers.add(server.url, metrics_url=other.url.replace("/v1", "/metrics"), key="secret")
        servers.finish()
    assert other.requests
    assert not any("secret" in request for request in other.requests)


def test_counters_that_cannot_be_read_keep_nobody_waiting(servers: Servers) -> None:
    with MisbehavingServer(stream(says("one"), ends())) as server:
        servers.add(server.url, metrics_url="http://127.0.0.1:9/metrics")
        report = report_of(servers.finish())
    assert (report.counts_from, report.shared) == (None, None)


def test_counters_that_drip_in_keep_nobody_waiting(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "TIMEOUT_S", 0.2)

    def script(request: str) -> Iterator[bytes]:
        if not request.startswith("GET /metrics"):
            yield from stream(says("one"), ends())(request)
            return
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n"
        while not server.is_over(0.02):
            yield b"#"

    with MisbehavingServer(script) as server:
        servers.add(server.url, metrics_url=server.url.replace("/v1", "/metrics"))
        run = servers.finish()
    assert (run.text, report_of(run).shared) == ("one", None)
