"""What a server does not take is done without, and that is kept only once the server has taken the rest."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from engine.backends.remote import exchange
from tests.support.misbehaving_server import MisbehavingServer, Script, counts, ends, says, stream, whole
from tests.support.remotes import Servers, report_of

GOOD = stream(says("one"), ends(), counts())


def bodies(server: MisbehavingServer) -> list[dict[str, Any]]:
    return [json.loads(request.partition("\r\n\r\n")[2]) for request in server.requests]


def limited(most: int) -> Script:
    """A server that tells of so many likeliest tokens at most."""

    def script(request: str) -> Iterator[bytes]:
        if json.loads(request.partition("\r\n\r\n")[2]).get("top_logprobs", 0) > most:
            return whole("400 Bad Request", {"error": f"top_logprobs must be at most {most}"})(request)
        return GOOD(request)

    return script


def test_what_only_looks_like_a_refused_field_is_not_kept(servers: Servers) -> None:
    """Servers repeat what they were sent, with any error."""
    refused = whole("422 Unprocessable Entity", {"detail": "too long", "body": {"logprobs": True}})
    with MisbehavingServer(refused) as server:
        servers.add(server.url)
        assert "does not take the request (HTTP 422)" in servers.failure()
        server.script = GOOD
        run = servers.finish()
    assert bodies(server)[-1]["logprobs"] is True
    assert not any("log-probabilities" in note for note in report_of(run).notes)


def test_of_too_many_likeliest_tokens_fewer_are_asked_for_first(servers: Servers) -> None:
    with MisbehavingServer(limited(5)) as server:
        servers.add(server.url)
        run = servers.finish(top_logprobs=20)
        assert [body["top_logprobs"] for body in bodies(server)] == [20, 2]
        assert any("20 likeliest tokens" in note for note in report_of(run).notes)
        run = servers.finish(top_logprobs=20)
        servers.finish(top_logprobs=4)
        assert [body["top_logprobs"] for body in bodies(server)] == [20, 2, 2, 4], "it is known from the first time on"
    assert any("20 likeliest tokens" in note for note in report_of(run).notes)


def test_where_fewer_are_refused_too_none_are_asked_for(servers: Servers) -> None:
    with MisbehavingServer(limited(0)) as server:
        servers.add(server.url)
        run = servers.finish(top_logprobs=20)
    assert [body.get("top_logprobs") for body in bodies(server)] == [20, 2, None]
    assert any("no log-probabilities" in note for note in report_of(run).notes)
    assert not any("likeliest" in note for note in report_of(run).notes)


def test_the_network_is_timed_of_the_request_that_was_answered(servers: Servers) -> None:
    def script(request: str) -> Iterator[bytes]:
        if '"logprobs"' in request:
            return whole("400 Bad Request", {"error": "no logprobs"}, connection="keep-alive")(request)
        return GOOD(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url)
        report = report_of(servers.finish())
    assert len(server.requests) == 2
    assert report.attempts == 1, "no connection failed"
    assert report.first_byte_s is not None
    assert report.first_byte_s >= 0


def test_each_request_has_its_own_tries_at_a_connection(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server refuses three fields one by one, and is gone before the fourth request."""
    monkeypatch.setattr(exchange, "_BACKOFF_S", (0.0, 0.0))
    signs = {"logprobs": "logprobs", "stream_options": "stream_options", "max_tokens": "max_completion_tokens"}

    def script(request: str) -> Iterator[bytes]:
        body = json.loads(request.partition("\r\n\r\n")[2])
        sign = next(sign for name, sign in signs.items() if name in body)
        if sign == "max_completion_tokens":
            assert server._socket is not None
            server._socket.shutdown(socket.SHUT_RDWR)
            server._socket.close()
        return whole("400 Bad Request", {"error": f"use no {sign}"})(request)

    with MisbehavingServer(script) as server:
        servers.add(server.url, connect_timeout_s=0.2)
        assert "cannot be reached: " in servers.failure()
    assert len(server.requests) == 3
