"""What is refused, with which words and fields, and that nothing was asked of the engine; and what passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from app.api.answering import Answering
from app.api.routes import api
from app.store import RunStore, StoreError
from engine.errors import ContextLengthError, GearboxError, InsufficientMemoryError, InvalidRequestError
from tests.support.api import HELLO, chat
from tests.support.fakes import FakeEngine

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a"}}

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "invalid_value"),
    ({"model": 3}, "model", "invalid_value"),
    ({"model": "\ud800"}, "model", "invalid_value"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": "hi"}, "messages", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [*HELLO, {"role": "tool", "content": "x"}]}, "messages[1].role", "invalid_value"),
    ({"messages": [*HELLO, {"role": "assistant", "content": None}]}, "messages[1].content", "invalid_value"),
    ({"messages": [{"role": "user", "content": "x", "name": "me"}]}, "messages[0].name", "unsupported_parameter"),
    ({"messages": IMAGE}, "messages[0].content[0].type", "unsupported_parameter"),
    ({"temperature": -1}, "temperature", "invalid_value"),
    ({"temperature": "1"}, "temperature", "invalid_value"),
    ({"top_p": 0}, "top_p", "invalid_value"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"max_tokens": -5}, "max_tokens", "invalid_value"),
    ({"max_completion_tokens": 7}, "max_tokens", "unsupported_parameter"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 1_000_000}, "n", "invalid_value"),
    ({"seed": 2**70}, "seed", "invalid_value"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"logit_bias": {"12": 101}}, "logit_bias.12", "invalid_value"),
    ({"logit_bias": {"word": 1}}, "logit_bias.word", "invalid_value"),
    ({"top_logprobs": 2}, "top_logprobs", "unsupported_parameter"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "unsupported_parameter"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": SCHEMA}, "response_format.json_schema.schema", "missing_required_parameter"),
    ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
    ({"tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
    ({"functions": [{}]}, "functions", "unsupported_parameter"),
    ({"parallel_tool_calls": False}, "parallel_tool_calls", "unsupported_parameter"),
    ({"audio": {"voice": "x"}}, "audio", "unsupported_parameter"),
    ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
    ({"prediction": {"type": "content", "content": "x"}}, "prediction", "unsupported_parameter"),
    ({"reasoning_effort": "high"}, "reasoning_effort", "unsupported_parameter"),
    ({"store": True}, "store", "unsupported_parameter"),
    ({"service_tier": "flex"}, "service_tier", "unsupported_parameter"),
    ({"metadata": {"a": 1}}, "metadata.a", "invalid_value"),
    ({"user": "u" * 1000}, "user", "invalid_value"),
    ({"min_p": 0.1}, "min_p", "unknown_parameter"),
    ({"ignore_eos": True}, "ignore_eos", "unknown_parameter"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_cannot_be_honoured_is_refused_with_its_field_and_nothing_is_run(
    fake_client: TestClient,
    fake_engine: FakeEngine,
    store: RunStore,
    fields: dict[str, Any],
    param: str,
    code: str,
) -> None:
    body = json.dumps(chat(**fields))
    answer = fake_client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert len(error["message"]) > 20
    assert not fake_engine.requests
    assert store.page().total == 0


def test_what_asks_for_nothing_passes_as_clients_send_it(fake_client: TestClient) -> None:
    nothing = {
        "tools": [],
        "tool_choice": "auto",
        "functions": None,
        "parallel_tool_calls": True,
        "modalities": ["text"],
        "audio": None,
        "store": False,
        "n": 1,
        "logprobs": False,
        "top_logprobs": None,
        "service_tier": "auto",
        "stream": False,
        "stream_options": None,
        "stop": None,
        "logit_bias": None,
        "response_format": {"type": "text"},
        "max_completion_tokens": 12,
        "seed": -1,
        "top_k": -1,
    }
    earlier = {"role": "assistant", "content": "x", "refusal": None, "tool_calls": None, "annotations": []}
    answer = fake_client.post(CHAT, json=chat(**nothing, messages=[*HELLO, earlier, *HELLO]))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a"] * 10, "n": 10}, "n"),
        ({"echo": True}, "echo"),
        ({"best_of": 3}, "best_of"),
        ({"suffix": "end"}, "suffix"),
        ({"messages": HELLO}, "messages"),
        ({"response_format": {"type": "text"}}, "response_format"),
    ],
)
def test_completions_refuse_what_they_cannot_do(
    fake_client: TestClient, fake_engine: FakeEngine, fields: dict[str, Any], param: str
) -> None:
    answer = fake_client.post(COMPLETIONS, json={"model": "smollm2-135m", "prompt": "Once", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not fake_engine.requests


@pytest.mark.parametrize(
    "name",
    ["gpt-4o", "../smollm2-135m", "../../etc", "/etc/passwd", "C:\\models", "HuggingFaceTB/SmolLM2-135M", "gearbox/no"],
)
def test_only_what_is_listed_is_a_model(
    fake_client: TestClient, fake_engine: FakeEngine, store: RunStore, name: str
) -> None:
    answer = fake_client.post(CHAT, json=chat(model=name))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert name not in answer.text
    assert fake_client.get(f"/v1/models/{name}").status_code == 404
    assert not fake_engine.requests
    assert store.page().total == 0


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/json"),
        (b'{"model": ', "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b"\xff\xfe\x00", "application/json"),
        (b'{"a":' * 100_000, "application/json"),
        (b"9" * 10_000, "application/json"),
        (b'{"model": "smollm2-135m", "messages": [{"role": "user", "content": "x"}]}', "text/plain"),
        (b"model=smollm2-135m", "application/x-www-form-urlencoded"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "' + b"x" * 2_000_000, "application/json"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_json_object_is_refused_and_not_repeated(fake_client: TestClient, body: bytes, kind: str) -> None:
    answer = fake_client.post(CHAT, content=body, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(answer.content) < 500


def test_paths_and_methods_that_are_none_are_refused_in_the_same_shape(fake_client: TestClient) -> None:
    for method, path, status in (
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/v1/files", 404),
        ("POST", "/v1/embeddings", 400),
    ):
        answer = fake_client.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_an_answer_that_fails_has_the_status_of_its_cause(
    store: RunStore, fake_client: TestClient, fake_engine: FakeEngine
) -> None:
    for failure, status, code in (
        (ContextLengthError(9000, 8192), 400, "context_length_exceeded"),
        (InvalidRequestError("Not like this."), 400, None),
        (InsufficientMemoryError("Too little memory."), 503, None),
        (GearboxError("Something else."), 500, None),
    ):
        fake_engine.failure = failure
        for stream in (False, True):
            answer = fake_client.post(CHAT, json=chat(stream=stream))
            error = answer.json()["error"]
            assert (answer.status_code, error["message"], error["code"]) == (status, str(failure), code)
    assert {run.status for run in store.page().rows} == {"failed"}


def test_without_its_database_the_api_says_so_and_not_where_it_lies(models_dir: Path, fake_engine: FakeEngine) -> None:
    def no_store() -> RunStore:
        raise StoreError("The run database /srv/secret/gearbox.db cannot be opened.")

    answering = Answering(lambda: fake_engine, no_store)
    with TestClient(Starlette(routes=[Mount("/v1", api(models_dir, no_store, answering))])) as client:
        answers = [client.get("/v1/models"), *(client.post(CHAT, json=chat(stream=way)) for way in (False, True))]
    answering.close()
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
        assert "secret" not in answer.text
    assert not fake_engine.requests
