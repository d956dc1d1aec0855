"""Everything that a network and a server can do wrong: each is one clear sentence, and nothing hangs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from engine.backends.remote import exchange
from engine.types import RunFinished, TokenEvent
from tests.support.misbehaving_server import (
    STREAM_HEAD,
    MisbehavingServer,
    Script,
    counts,
    ends,
    says,
    stream,
    whole,
)
from tests.support.remotes import OFFICE, Servers, asked_of, metrics_of, report_of, tokens_of

KEY = "sk-very-secret"


def cut(text: str, at: int) -> Script:
    """A stream whose bytes arrive in two parts."""

    def script(request: str) -> Iterator[bytes]:
        data = b"".join(stream(says(text), ends())(request))
        place = data.index(text.encode()) + at
        yield data[:place]
        yield data[place:]

    return script


def test_half_a_character_waits_for_its_other_half(servers: Servers) -> None:
    with MisbehavingServer(cut("Ça va, 世界 🌍?", 11)) as server:
        servers.add(server.url)
        assert servers.finish().text == "Ça va, 世界 🌍?"


def test_half_a_character_that_the_server_spells_is_kept_as_it_came(servers: Servers) -> None:
    with MisbehavingServer(stream(says("a\ufffd"), says("\ufffdb"), says("\ufffd"), ends())) as server:
        servers.add(server.url)
        events = servers.ask()
    assert isinstance(events[-1], RunFinished)
    assert events[-1].text == "a\ufffd\ufffdb\ufffd" == "".join(token.text for token in tokens_of(events))


@pytest.mark.parametrize(
    "usage", [{"usage": None}, {"usage": {}}, {"usage": "none"}, {"usage": {"prompt_tokens": "4"}}]
)
def test_usage_that_is_none(servers: Servers, usage: dict[str, Any]) -> None:
    with MisbehavingServer(stream({**says("one"), **usage}, {**ends(), **usage})) as server:
        servers.add(server.url)
        assert not report_of(servers.finish()).counted


def test_of_several_choices_the_first_counts(servers: Servers) -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "OTHER"}}]}
    both = {"choices": [{"index": 1, "delta": {"content": "X"}}, {"index": 0, "delta": {"content": " two"}}]}
    with MisbehavingServer(stream(says("one"), other, both, ends())) as server:
        servers.add(server.url)
        run = servers.finish()
    assert run.text == "one two"
    assert any("several answers" in note for note in report_of(run).notes)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (stream(says("one"), {"error": {"message": "CUDA out of memory"}}), "broke off the answer: CUDA out of memory"),
        (stream(says("one"), ends("error")), "broke off the answer (finish_reason error)"),
        (stream(says("one"), "{nonsense"), "sent what is no JSON"),
        (stream(says("one"), "[1, 2]"), "sent what is no JSON object"),
        (stream(says("one"), done=False), "ended the stream without a finish_reason"),
        (stream(says("x" * 2**21), ends()), "sent a piece of more than 1,048,576 bytes"),
        (
            stream(says("one"), done=False, head=STREAM_HEAD.replace(b"connection: close", b"content-length: 9999")),
            "closed the connection in the middle of the answer",
        ),
        (whole("200 OK", "<html>hello</html>", content_type="text/html"), "answers with text/html instead of a stream"),
        (whole("200 OK", "nonsense"), "sent what is no JSON"),
        (whole("401 Unauthorized", {"error": {"message": f"bad key {KEY}"}}), "refuses the key (HTTP 401): bad key …"),
        (whole("403 Forbidden"), "refuses the key (HTTP 403)"),
        (whole("404 Not Found", {"detail": "Not Found"}), "has no model 'served', or no such address (HTTP 404)"),
        (
            whole("429 Too Many Requests", retry_after="20"),
            "takes no more requests for now, ask again in 20 s (HTTP 429)",
        ),
        (whole("400 Bad Request", {"error": "too long"}), "does not take the request (HTTP 400): too long"),
        (whole("503 Service Unavailable", "busy"), "failed (HTTP 503): busy"),
        (lambda _: iter([b"HTTP/1.1 banana\r\n\r\n"]), "closed the connection without an answer"),
        (lambda _: iter(()), "closed the connection without an answer"),
    ],
)
def test_what_goes_wrong_is_said(servers: Servers, script: Script, said: str) -> None:
    with MisbehavingServer(script) as server:
        model = servers.add(server.url, key=KEY)
        failure = servers.failure()
    assert failure.startswith(f"@office ({model.server}) ")
    assert said in failure
    assert KEY not in failure


def test_without_a_key_a_key_is_wanted(servers: Servers) -> None:
    with MisbehavingServer(whole("401 Unauthorized")) as server:
        servers.add(server.url)
        assert "wants a key (HTTP 401)" in servers.failure()


def test_a_redirect_is_refused_and_the_key_stays_here(servers: Servers) -> None:
    with MisbehavingServer(stream(says("caught"), ends())) as other:
        with MisbehavingServer(whole("307 Temporary Redirect", location=other.url + "/chat/completions")) as server:
            servers.add(server.url, key=KEY)
            assert "sends the request on to another address (HTTP 307)" in servers.failure()
        assert other.requests == []


def test_an_answer_that_is_not_streamed_is_taken_whole(servers: Servers) -> None:
    body = {
        "choices": [{"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3},
    }
    with MisbehavingServer(whole("200 OK", body)) as server:
        servers.add(server.url)
        run = servers.finish()
    assert run.text == "all of it"
    assert any("all at once" in note or "whole answer" in note for note in report_of(run).notes)


def test_tokens_that_came_at_once_tell_no_time_between_them(servers: Servers) -> None:
    tokens = [{"token": text, "logprob": -0.5} for text in ("all", " of", " it")]
    choice = {"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop", "logprobs": {"content": tokens}}
    with MisbehavingServer(whole("200 OK", {**counts(4, 3), "choices": [choice]})) as server:
        servers.add(server.url)
        metrics = metrics_of(servers.finish())
    assert (metrics.tpot_s, metrics.itl_p50_s, metrics.itl_p99_s) == (None, None, None)
    assert metrics.ttft_s == metrics.e2e_s


def test_without_its_end_mark_an_answer_with_a_reason_is_whole(servers: Servers) -> None:
    with MisbehavingServer(stream(says("one"), ends("length"), done=False)) as server:
        servers.add(server.url)
        run = servers.finish()
    assert (run.text, run.finish_reason) == ("one", "length")
    assert any("[DONE]" in note for note in report_of(run).notes)


def test_without_a_reason_an_answer_with_its_end_mark_is_whole(servers: Servers) -> None:
    with MisbehavingServer(stream(says("one"))) as server:
        servers.add(server.url)
        assert any("does not say why" in note for note in report_of(servers.finish()).notes)


def test_a_stream_that_never_ends_is_left_once_enough_has_come(servers: Servers) -> None:
    def script(request: str) -> Iterator[bytes]:
        yield STREAM_HEAD
        while True:
            yield b"".join(stream(says("on "), done=False, head=b"")(request))

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        run = servers.finish(max_tokens=20)
        assert server.hung_up.wait(5)
    assert run.finish_reason == "length"
    assert any("wrote on" in note for note in report_of(run).notes)


@pytest.mark.parametrize("filler", [b": still here\n\n", b'data: {"choices": []}\n\n', b""])
def test_a_stream_that_says_nothing_is_left_after_its_time(servers: Servers, filler: bytes) -> None:
    def script(request: str) -> Iterator[bytes]:
        yield from stream(says("one"), done=False)(request)
        while not server.is_over(0.02):
            yield filler

    with MisbehavingServer(script) as server:
        servers.add(server.url, read_timeout_s=0.3)
        assert "sent nothing of an answer for 0.3 s" in servers.failure()


def test_a_server_that_never_answers_is_left_after_its_time(servers: Servers) -> None:
    def script(_: str) -> Iterator[bytes]:
        server.is_over(30)
        yield b""

    with MisbehavingServer(script) as server:
        servers.add(server.url, read_timeout_s=0.3)
        assert "sent nothing of an answer for 0.3 s" in servers.failure()


def test_an_error_that_never_ends_is_told_as_far_as_it_came(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_ERROR_WITHIN_S", 0.2)

    def script(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 400 Bad Request\r\ncontent-length: 4000\r\n\r\ntoo long"
        while not server.is_over(0.02):
            yield b" "

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        assert "does not take the request (HTTP 400): too long" in servers.failure()


def test_nobody_listens(servers: Servers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    servers.add(f"http://127.0.0.1:{port}/v1")
    assert "cannot be reached: " in servers.failure()
    (status,) = servers.engine.remote_status()
    assert (status.requests, status.failures, status.running) == (1, 1, 0)
    assert status.models == (OFFICE,)


def test_a_connection_is_tried_again_but_a_request_is_not(servers: Servers) -> None:
    with MisbehavingServer(lambda _: iter(())) as server:
        servers.add(server.url)
        servers.failure()
        assert len(server.requests) == 1, "it may have been at work"
    with socket.create_server(("127.0.0.1", 0)) as late:
        port = late.getsockname()[1]
    reached = MisbehavingServer(stream(says("one"), ends()))

    def open_late() -> None:
        reached.listen(port)

    servers.add(f"http://127.0.0.1:{port}/v1")
    timer = threading.Timer(0.1, open_late)
    timer.start()
    run = servers.finish()
    timer.join()
    reached.__exit__()
    assert report_of(run).attempts > 1


def test_a_server_that_speaks_no_tls(servers: Servers) -> None:
    with MisbehavingServer(stream(says("one"), ends())) as server:
        servers.add(server.url.replace("http:", "https:"))
        assert "no encrypted connection can be made" in servers.failure()
        assert len(server.requests) == 1, "another try is in vain"


def endless(request: str) -> Iterator[bytes]:
    """A word again and again, for as long as somebody listens."""
    yield STREAM_HEAD
    while True:
        yield b"".join(stream(says("on "), done=False, head=b"")(request))
        time.sleep(0.005)


def test_cancelling_closes_the_connection_and_keeps_what_came(servers: Servers) -> None:
    with MisbehavingServer(endless) as server:
        servers.add(server.url)
        generation = servers.engine.generate(asked_of(OFFICE, max_tokens=10**6))
        while not isinstance(next(generation), TokenEvent):
            pass
        generation.cancel()
        *_, last = generation
        assert server.hung_up.wait(5)
    assert isinstance(last, RunFinished)
    assert last.finish_reason == "abort"
    assert last.text.startswith("on ")
    assert last.metrics is not None


def test_a_run_that_is_let_go_of_closes_its_connection(servers: Servers) -> None:
    with MisbehavingServer(endless) as server:
        servers.add(server.url)
        generation = servers.engine.generate(asked_of(OFFICE, max_tokens=10**6))
        next(generation)
        del generation
        assert server.hung_up.wait(5)


def test_cookies_are_not_kept(servers: Servers) -> None:
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nset-cookie: a=b\r\n\r\n")
    with MisbehavingServer(stream(says("one"), ends(), counts(), head=head)) as server:
        servers.add(server.url)
        servers.finish()
        servers.finish()
    assert "cookie" not in server.requests[1].lower()
