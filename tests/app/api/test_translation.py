"""From OpenAI's terms to the engine's: messages, how tokens are chosen, seeds, whose prefix is whose."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from app.api.callers import Caller
from app.api.errors import ApiError
from app.api.requests import ChatCall, CompletionCall
from app.api.served import Served
from app.api.translation import chat_requests, completion_requests
from engine.types import GenerationRequest, Message, RunConfig, SamplingParams
from tests.support.fakes import make_request

SAVED = SamplingParams(temperature=0.7, top_p=0.9, top_k=40, max_tokens=77, stop=("END",), seed=5)
SERVED = Served("gearbox/fast", 0, RunConfig(model="smollm2-135m", sampling=SAVED))


def asked(*messages: dict[str, Any], **fields: Any) -> list[GenerationRequest]:
    sent = [*messages] or [{"role": "user", "content": "x"}]
    return chat_requests(ChatCall.model_validate({"model": "m", "messages": sent, **fields}), SERVED, "salt")


def sampling(**fields: Any) -> SamplingParams:
    return asked(**fields)[0].config.sampling


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_what_a_call_leaves_out_is_as_it_was_saved_but_for_the_seed() -> None:
    found = sampling()
    assert (found.temperature, found.top_p, found.top_k, found.max_tokens, found.stop) == (0.7, 0.9, 40, 77, ("END",))
    assert found.seed != SAVED.seed
    assert sampling().seed != found.seed


def test_what_a_call_says_holds() -> None:
    found = sampling(
        temperature=1.5,
        top_p=0.5,
        top_k=-1,
        max_completion_tokens=3,
        stop=["a", "b"],
        seed=9,
        frequency_penalty=1,
        presence_penalty=-1.5,
        repetition_penalty=1.2,
        logit_bias={"12": -100, "3": 5.5},
        logprobs=True,
        top_logprobs=4,
    )
    assert found == SamplingParams(
        temperature=1.5,
        top_p=0.5,
        top_k=0,
        max_tokens=3,
        stop=("a", "b"),
        seed=9,
        frequency_penalty=1.0,
        presence_penalty=-1.5,
        repetition_penalty=1.2,
        logit_bias=((3, 5.5), (12, -100.0)),
        top_logprobs=4,
    )
    assert sampling(stop="x").stop == ("x",)
    assert sampling(stop=[]).stop == ()
    assert sampling(max_tokens=4).max_tokens == 4


def test_seeds_of_several_answers_count_on_and_any_integer_is_one() -> None:
    assert [each.config.sampling.seed for each in asked(n=3, seed=7)] == [7, 8, 9]
    assert 0 <= sampling(seed=-1).seed < 2**63
    assert sampling(seed=-1).seed == sampling(seed=-1).seed
    seeds = {each.config.sampling.seed for each in asked(n=3)}
    assert len(seeds) == 3
    assert len({each.config.hash for each in asked(n=3)}) == 1


def test_greedy_answers_are_asked_for_as_often_as_was_said() -> None:
    assert len(asked(n=3, temperature=0)) == 3


@pytest.mark.parametrize(
    ("format_", "schema"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array"}}}, {"type": "array"}),
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": False}}, {}),
    ],
)
def test_the_format_of_the_answer_becomes_a_schema(format_: Any, schema: Any) -> None:
    found = sampling(response_format=format_).json_schema
    assert (None if found is None else json.loads(found)) == schema


def test_system_messages_that_a_conversation_begins_with_become_one() -> None:
    (request,) = asked(turn("developer", "a"), turn("system", "b"), turn("user", "c"))
    assert request.messages == (Message("system", "a\n\nb"), Message("user", "c"))


def test_all_other_messages_stay_where_they_are() -> None:
    told = [turn("user", "a"), turn("user", "b"), turn("system", "c"), turn("assistant", ""), turn("user", "d")]
    (request,) = asked(*told)
    assert [(message.role, message.content) for message in request.messages] == [
        (each["role"], each["content"]) for each in told
    ]


def test_parts_of_text_become_lines() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert asked(turn("user", parts))[0].prompt == "a\nb"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([turn("user", "a"), turn("assistant", "b")], "messages[1].role"),
        ([turn("system", "a")], "messages[0].role"),
        ([turn("system", "a"), turn("developer", "b")], "messages[1].role"),
        ([turn("user", " ")], "messages[0].content"),
        ([turn("user", [])], "messages[0].content"),
    ],
)
def test_what_the_engine_cannot_answer_is_refused_with_its_place(messages: list[Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        asked(*messages)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_a_completion_asks_prompt_by_prompt_without_messages() -> None:
    call = CompletionCall.model_validate({"model": "m", "prompt": ["a", "b"], "n": 2, "seed": 1, "logprobs": 3})
    found = completion_requests(call, SERVED, "salt")
    assert [(each.completion, each.config.sampling.seed) for each in found] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert {(each.messages, each.config.sampling.max_tokens, each.config.sampling.top_logprobs) for each in found} == {
        ((), 16, 3)
    }


def test_a_cold_configuration_reuses_nothing() -> None:
    cold = Served("gearbox/cold", 0, make_request().config, cold=True)
    call = ChatCall.model_validate({"model": "m", "messages": [turn("user", "x")]})
    assert chat_requests(call, cold, "")[0].cold
    assert not asked()[0].cold


def caller(key: object = None, user: str | None = None) -> Caller:
    return Caller.of(Request({"type": "http", "state": {"key": key}}), user)


def test_prefixes_are_reused_by_the_same_key_and_user_alone() -> None:
    keys = [SimpleNamespace(id=f"k{n}", name="a", created_by=None) for n in range(2)]
    salts = [caller(key, user).cache_salt for key in (None, *keys) for user in (None, "u", "v")]
    assert len(set(salts)) == 9
    assert caller(keys[0], "u").cache_salt == caller(keys[0], "u").cache_salt


def test_a_run_belongs_to_whoever_made_the_key_or_to_the_key_or_to_the_desk() -> None:
    by_somebody = SimpleNamespace(id="k", name="bot", created_by="p" * 32)
    by_command = SimpleNamespace(id="k", name="bot", created_by=None)
    assert (caller(by_somebody).person_id, caller(by_somebody).user) == ("p" * 32, "bot")
    assert caller(by_somebody, "anna").user == "anna"
    assert len(caller(by_command).person_id or "") == 32
    assert (caller().person_id, caller().user) == (None, None)
