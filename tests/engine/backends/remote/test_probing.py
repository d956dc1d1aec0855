"""The connection test: what a server can do, as far as it shows, and what is wrong with it, in sentences."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest

from engine.backends.remote import listing, probe
from engine.types import Ability, RemoteModel
from tests.support.misbehaving_server import MisbehavingServer, Script, counts, ends, says, stream, whole

YES, NO, UNKNOWN = Ability.YES, Ability.NO, Ability.UNKNOWN
CHANCE = {"content": [{"token": "hi", "logprob": -0.1, "top_logprobs": []}]}
VLLM = {"data": [{"id": "served", "owned_by": "vllm", "max_model_len": 4096}, {"id": "other"}]}


def serving(answer: Script, models: Any = VLLM, **paths: Any) -> Script:
    """A server with a list of models, and JSON at other paths by their names."""

    def script(request: str) -> Iterator[bytes]:
        path = request.split(" ")[1]
        if path == "/v1/models":
            return (models if callable(models) else whole("200 OK", models))(request)
        if path == "/v1/chat/completions":
            return answer(request)
        known = paths.get(path.strip("/").replace("/", "_"))
        return (whole("404 Not Found") if known is None else whole("200 OK", known))(request)

    return script


def probed(script: Script, **more: Any) -> Any:
    with MisbehavingServer(script) as server:
        root = server.url.removesuffix("/v1")
        more = {name: value.replace("ROOT", root) if isinstance(value, str) else value for name, value in more.items()}
        return probe(RemoteModel(name="@office", url=server.url, served_name="served", **more))


def test_what_a_server_can_do() -> None:
    answer = stream(says("hi", logprobs=CHANCE), ends(), counts(prompt_tokens_details={"cached_tokens": 0}))
    metrics = 'vllm:request_success_total{model_name="served"} 3.0\n'
    found = probed(
        serving(answer, version={"version": "0.32.0"}, metrics=metrics), metrics_url="ROOT/metrics", key="secret"
    )
    assert found.models == ("served", "other")
    assert (found.software, found.context_length) == ("vLLM 0.32.0", 4096)
    assert {found.streams, found.usage_in_stream, found.cached_tokens, found.logprobs, found.metrics} == {YES}
    assert found.connect_s is not None
    assert found.first_token_s is not None
    assert found.problems == ()
    assert found.can_be_used


def test_what_it_does_not_show_is_unknown_or_no() -> None:
    found = probed(serving(stream(says("hi"), ends()), {"data": [{"id": "served"}]}))
    assert (found.streams, found.usage_in_stream, found.logprobs, found.cached_tokens) == (YES, NO, NO, NO)
    assert (found.metrics, found.software, found.context_length) == (UNKNOWN, None, None)
    assert found.problems == ()


def test_an_answer_all_at_once_is_no_stream() -> None:
    body = {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]}
    found = probed(serving(whole("200 OK", body)))
    assert found.streams is NO
    assert not found.can_be_used


def test_llama_servers_properties_and_ollamas_version_are_read() -> None:
    answer, models = stream(says("hi"), ends()), {"data": [{"id": "served", "owned_by": "llamacpp"}]}
    found = probed(serving(answer, models, props={"default_generation_settings": {"n_ctx": 2048}}))
    assert (found.software, found.context_length) == ("llama.cpp", 2048)
    found = probed(serving(answer, {"data": [{"id": "served", "owned_by": "library"}]}, api_version={"version": "0.9"}))
    assert found.software == "Ollama 0.9"


def test_problems_are_sentences() -> None:
    answer = stream(says("hi"), ends())
    assert probed(serving(answer, {"data": [{"id": "else"}]})).problems == ("The server has no model 'served'.",)
    (problem,) = probed(serving(answer, {"hello": 1})).problems
    assert "root of an API" in problem
    refused = probed(serving(whole("401 Unauthorized"), whole("401 Unauthorized")), key="secret").problems
    assert "refuses the key (HTTP 401)" in refused[0]
    assert "refuses the key (HTTP 401)" in refused[1]
    (problem,) = probed(serving(answer), metrics_url="ROOT/metrics").problems
    assert "No metrics can be read" in problem
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = probe(RemoteModel(name="@office", url=f"http://127.0.0.1:{port}/v1", served_name="served"))
    assert found.streams is UNKNOWN
    assert all("cannot be reached" in problem for problem in found.problems)


def test_a_list_that_drips_in_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "WITHIN_S", 0.2)

    def drip(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 400\r\n\r\n"
        for _ in range(400):
            sleep(0.02)
            yield b" "

    (problem,) = probed(serving(stream(says("hi"), ends()), drip)).problems
    assert "no whole answer within 0.2 s" in problem
