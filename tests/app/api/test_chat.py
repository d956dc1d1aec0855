"""Answers of real weights over the API: the same as the engine's own, whole and streamed, and kept as runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.store import RunSource, RunStatus, RunStore
from engine import Engine
from engine.models.tokenization.tokenizer import ChatTokenizer
from engine.types import (
    CacheMode,
    GenerationRequest,
    Message,
    OptimizationConfig,
    Precision,
    RunConfig,
    RunFinished,
    SamplingParams,
    SpeculationConfig,
)
from tests.support.api import chat, events_of, said

CHAT = "/v1/chat/completions"
TELLING = "Tell a story about a fox who counts stars."


def post(client: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    tree: dict[str, Any] = answer.json()
    return tree


def stream(client: TestClient, body: dict[str, Any]) -> list[Any]:
    with client.stream("POST", CHAT, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events_of(answer.iter_lines())


def alone(engine: Engine, prompt: str, sampling: SamplingParams) -> RunFinished:
    config = RunConfig(
        model="smollm2-135m",
        optimization=OptimizationConfig.at(Precision.INT4, CacheMode.PREFIX),
        sampling=sampling,
    )
    *_, last = engine.generate(GenerationRequest(messages=(Message("user", prompt),), config=config, cold=True))
    assert isinstance(last, RunFinished)
    return last


def test_an_answer_is_the_engines_own_whole_and_streamed(client: TestClient, engine: Engine, store: RunStore) -> None:
    expected = alone(engine, TELLING, SamplingParams(max_tokens=24))
    whole = post(client, chat(TELLING, max_tokens=24))
    (choice,) = whole["choices"]
    assert choice["message"] == {"role": "assistant", "content": expected.text, "refusal": None}
    assert choice["finish_reason"] == expected.finish_reason == "length"
    assert (whole["object"], whole["model"]) == ("chat.completion", "smollm2-135m")
    streamed = stream(client, chat(TELLING, max_tokens=24))
    assert streamed[-1] == "[DONE]"
    assert said(streamed) == expected.text
    assert {event["object"] for event in streamed[:-1]} == {"chat.completion.chunk"}
    assert len({event["id"] for event in streamed[:-1]}) == 1
    assert streamed[0]["choices"][0]["delta"]["role"] == "assistant"
    reasons = [event["choices"][0]["finish_reason"] for event in streamed[:-1]]
    assert reasons[-1] == "length"
    assert set(reasons[:-1]) == {None}
    assert all("usage" not in event for event in streamed[:-1])
    assert {run.status for run in store.page().rows} == {RunStatus.FINISHED}


def test_a_call_is_a_stored_run_that_says_who_asked(client: TestClient, store: RunStore) -> None:
    answer = client.post(CHAT, json=chat(user="anna", metadata={"ticket": "42"}))
    run = store.get(answer.headers["x-gearbox-run-id"])
    body = answer.json()
    assert (run.source, run.status, run.user, run.metadata) == (
        RunSource.API,
        RunStatus.FINISHED,
        "anna",
        {"ticket": "42"},
    )
    assert run.text == body["choices"][0]["message"]["content"]
    assert body["id"] == f"chatcmpl-{run.id}"
    assert answer.headers["x-gearbox-config-hash"] == run.config_hash
    assert answer.headers["x-gearbox-tier"] == "smollm2-135m int4"
    assert run.metrics
    assert body["usage"]["prompt_tokens"] == run.metrics.prompt_tokens
    assert body["usage"]["completion_tokens"] == run.metrics.completion_tokens == 12
    assert run.person_id is None


def test_usage_tells_what_was_reused_by_the_same_user_and_nobody_else(client: TestClient, engine: Engine) -> None:
    def cached(user: str | None) -> int:
        fields = {} if user is None else {"user": user}
        usage = post(client, chat("How many legs has a spider?", **fields))["usage"]
        found: int = usage["prompt_tokens_details"]["cached_tokens"]
        assert found < usage["prompt_tokens"]
        return found

    first = cached("test-reuse-a")
    assert cached("test-reuse-a") > first
    assert cached("test-reuse-b") == 0


def test_a_streams_last_event_has_the_usage_if_asked(client: TestClient) -> None:
    events = stream(client, chat(stream_options={"include_usage": True}))
    *others, last, done = events
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 12
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 12
    assert all(event["usage"] is None for event in others)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_tokens_log_probabilities_spell_the_answer(client: TestClient, streamed: bool) -> None:
    body = chat("Write three emojis: \N{GRINNING FACE}", max_tokens=16, logprobs=True)
    if streamed:
        events = stream(client, body)
        text = said(events)
        logprobs = [event["choices"][0]["logprobs"] for event in events[:-1]]
        tokens = [token for each in logprobs if each for token in each["content"]]
    else:
        (choice,) = post(client, body)["choices"]
        text, tokens = choice["message"]["content"], choice["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == text
    assert all(token["logprob"] <= 0 and bytes(token["bytes"]).decode() == token["token"] for token in tokens)
    assert all(token["top_logprobs"] == [] for token in tokens)


def test_an_end_mark_is_no_token_of_the_answer(client: TestClient) -> None:
    body = chat("What is 2 + 2? Answer with one word.", max_tokens=200, logprobs=True)
    (choice,) = post(client, body)["choices"]
    assert choice["finish_reason"] == "stop"
    events = stream(client, body)
    logprobs = [event["choices"][0]["logprobs"] for event in events[:-1]]
    streamed = [token["token"] for each in logprobs if each for token in each["content"]]
    assert streamed == [token["token"] for token in choice["logprobs"]["content"]]
    assert streamed[-1]


def test_several_answers_are_runs_of_one_group_with_seeds_that_count_on(client: TestClient, store: RunStore) -> None:
    answer = client.post(CHAT, json=chat(TELLING, n=3, temperature=1, seed=5))
    choices = answer.json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    runs = [store.get(run_id) for run_id in answer.headers["x-gearbox-run-id"].split(", ")]
    assert [run.seed for run in runs] == [5, 6, 7]
    assert len({run.group_id for run in runs}) == 1
    assert runs[0].group_id
    assert [run.text for run in runs] == [choice["message"]["content"] for choice in choices]
    again = post(client, chat(TELLING, n=1, temperature=1, seed=6))
    assert again["choices"][0]["message"]["content"] == choices[1]["message"]["content"]
    usage = answer.json()["usage"]
    assert usage["completion_tokens"] == sum(run.metrics.completion_tokens for run in runs if run.metrics)
    assert usage["prompt_tokens"] == again["usage"]["prompt_tokens"]


def test_streams_of_several_answers_tell_them_apart(client: TestClient) -> None:
    events = stream(client, chat(TELLING, n=2, temperature=1, seed=5))
    whole = post(client, chat(TELLING, n=2, temperature=1, seed=5))
    for place, choice in enumerate(whole["choices"]):
        assert said(events, place) == choice["message"]["content"]


def test_an_answer_ends_before_a_stop_string(client: TestClient) -> None:
    text = post(client, chat(TELLING, max_tokens=24))["choices"][0]["message"]["content"]
    stop = text[len(text) // 2 :][:4]
    for streamed in (False, True):
        body = chat(TELLING, max_tokens=24, stop=[stop, "never said"], logprobs=True)
        found = said(stream(client, body)) if streamed else post(client, body)["choices"][0]["message"]["content"]
        assert found == text[: text.index(stop)]


def test_a_prompt_beyond_the_context_is_refused_also_as_a_stream(client: TestClient, store: RunStore) -> None:
    for streamed in (False, True):
        answer = client.post(CHAT, json=chat("fox " * 9000, stream=streamed))
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "messages")
    assert {run.status for run in store.page().rows} == {RunStatus.FAILED}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_of_a_megabyte_is_refused_after_a_look_at_its_beginning(
    client: TestClient, store: RunStore, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    read, encode = list[int](), ChatTokenizer._encode_text

    def encoded(tokenizer: ChatTokenizer, text: str) -> list[int]:
        read.append(len(text))
        return encode(tokenizer, text)

    monkeypatch.setattr(ChatTokenizer, "_encode_text", encoded)
    monkeypatch.setattr(ChatTokenizer, "read_chat", None)
    answer = client.post(CHAT, json=chat("fox " * 250_000, stream=streamed))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "it has at least" in error["message"]
    assert sum(read) <= 8 * 8192
    assert [run.status for run in store.page().rows] == [RunStatus.FAILED]


@pytest.mark.slow
def test_a_text_that_is_long_only_in_characters_is_read(client: TestClient) -> None:
    body = {"model": "smollm2-135m", "prompt": "-" * 140_000, "max_tokens": 1}
    answer = client.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["prompt_tokens"] < 8192


def test_a_saved_configuration_answers_by_its_name_and_its_id(client: TestClient, store: RunStore) -> None:
    config = RunConfig(
        model="smollm2-135m",
        optimization=OptimizationConfig.at(Precision.INT8, speculation=SpeculationConfig()),
        sampling=SamplingParams(max_tokens=9, temperature=0),
    )
    saved_id = store.configurations.save(None, "Fast & good/2", config.to_dict(), warm=True)
    names = [entry["id"] for entry in client.get("/v1/models").json()["data"]]
    assert "gearbox/Fast & good/2" in names
    for name in ("gearbox/Fast & good/2", saved_id, f"gearbox/{saved_id}"):
        messages = [{"role": "user", "content": "Count: one two one two one two"}]
        answer = client.post(CHAT, json={"model": name, "messages": messages})
        run = store.get(answer.headers["x-gearbox-run-id"])
        assert run.config_hash == config.hash == answer.headers["x-gearbox-config-hash"]
        assert answer.json()["usage"]["completion_tokens"] <= 9
        assert client.get(f"/v1/models/{name}").status_code == 200
        drafted = answer.json()["usage"]["completion_tokens_details"]
        assert run.metrics
        assert drafted["accepted_prediction_tokens"] == run.metrics.accepted_tokens
        assert drafted["rejected_prediction_tokens"] == run.metrics.drafted_tokens - run.metrics.accepted_tokens


def test_no_figure_in_an_answer_is_less_than_json_can_say(client: TestClient) -> None:
    answer = client.post(CHAT, json=chat(logprobs=True, top_logprobs=5))
    for token in answer.json()["choices"][0]["logprobs"]["content"]:
        assert math.isfinite(token["logprob"])
