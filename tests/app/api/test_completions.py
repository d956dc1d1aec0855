"""Texts continued as they are, and answers held to JSON, over the API on real weights."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from app.store import RunSource, RunStore
from tests.support.api import chat, events_of

COMPLETIONS = "/v1/completions"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "legs": {"type": "integer"}},
    "required": ["name", "legs"],
    "additionalProperties": False,
}


def body(prompt: str | list[str] = "The capital of France is", **fields: Any) -> dict[str, Any]:
    return {"model": "smollm2-135m", "prompt": prompt, "max_tokens": 8, "temperature": 0, **fields}


def test_a_text_is_continued_whole_and_streamed_and_kept_as_a_run(client: TestClient, store: RunStore) -> None:
    answer = client.post(COMPLETIONS, json=body())
    tree = answer.json()
    (choice,) = tree["choices"]
    assert (tree["object"], choice["logprobs"], choice["finish_reason"]) == ("text_completion", None, "length")
    assert "Paris" in choice["text"]
    run = store.get(answer.headers["x-gearbox-run-id"])
    assert (run.source, run.prompt, run.text) == (RunSource.API, "The capital of France is", choice["text"])
    with client.stream("POST", COMPLETIONS, json=body(stream=True)) as streamed:
        events = events_of(streamed.iter_lines())
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == choice["text"]
    assert events[-2]["choices"][0]["finish_reason"] == "length"


def test_without_a_word_on_it_a_completion_has_16_tokens(client: TestClient) -> None:
    usage = client.post(COMPLETIONS, json=body("One two three four", max_tokens=None)).json()["usage"]
    assert usage["completion_tokens"] <= 16


def test_several_prompts_are_answered_in_their_order(client: TestClient) -> None:
    prompts = ["The capital of France is", "One, two, three,"]
    alone = [client.post(COMPLETIONS, json=body(prompt)).json() for prompt in prompts]
    together = client.post(COMPLETIONS, json=body(prompts, n=2)).json()
    texts = [tree["choices"][0]["text"] for tree in alone]
    assert [choice["text"] for choice in together["choices"]] == [texts[0], texts[0], texts[1], texts[1]]
    assert [choice["index"] for choice in together["choices"]] == [0, 1, 2, 3]
    assert together["usage"]["prompt_tokens"] == sum(tree["usage"]["prompt_tokens"] for tree in alone)


def test_log_probabilities_have_the_older_shape(client: TestClient) -> None:
    (choice,) = client.post(COMPLETIONS, json=body(logprobs=2)).json()["choices"]
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    places = zip(logprobs["tokens"], logprobs["text_offset"], strict=True)
    assert all(choice["text"].startswith(token, at) for token, at in places)
    assert all(len(top) == 2 for top in logprobs["top_logprobs"])
    # greedy: each token is its place's likeliest
    assert [max(top, key=top.__getitem__) for top in logprobs["top_logprobs"]] == logprobs["tokens"]
    assert logprobs["token_logprobs"] == [max(top.values()) for top in logprobs["top_logprobs"]]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_is_held_to_a_schema(client: TestClient, streamed: bool) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "animal", "schema": SCHEMA, "strict": True}}
    asked = chat("Describe a spider.", response_format=wanted, max_tokens=60)
    if streamed:
        with client.stream("POST", "/v1/chat/completions", json={**asked, "stream": True}) as answer:
            events = events_of(answer.iter_lines())
        text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    else:
        text = client.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"]
    jsonschema.validate(json.loads(text), SCHEMA)


def test_a_json_object_is_some_object(client: TestClient) -> None:
    asked = chat('Answer with {"a": 1}.', response_format={"type": "json_object"}, max_tokens=200)
    (choice,) = client.post("/v1/chat/completions", json=asked).json()["choices"]
    text = choice["message"]["content"]
    assert text.lstrip().startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(text), dict)


def test_a_schema_that_is_none_is_refused_and_not_a_server_error(client: TestClient) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "no such type"}}}
    answer = client.post("/v1/chat/completions", json=chat(response_format=wanted))
    assert answer.status_code == 400, answer.text


def test_the_likeliest_tokens_come_with_each_token(client: TestClient) -> None:
    asked = chat(logprobs=True, top_logprobs=3)
    (choice,) = client.post("/v1/chat/completions", json=asked).json()["choices"]
    for token in choice["logprobs"]["content"]:
        tops = token["top_logprobs"]
        assert len(tops) == 3
        assert [top["logprob"] for top in tops] == sorted((top["logprob"] for top in tops), reverse=True)
        assert (tops[0]["token"], tops[0]["logprob"]) == (token["token"], token["logprob"])


def test_a_bias_forbids_a_token_and_penalties_change_what_is_said(client: TestClient) -> None:
    def text(**fields: Any) -> str:
        asked = chat("Repeat the word fox ten times.", max_tokens=24, **fields)
        found: str = client.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"]
        return found

    plain = text()
    assert text(frequency_penalty=2) != plain
    assert text(logit_bias={}) == plain
