"""From a call in OpenAI's terms to requests in the engine's: the only place that knows both."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.api.errors import ApiError
from app.api.requests import (
    MOST_ANSWERS,
    Call,
    ChatCall,
    ChatMessage,
    CompletionCall,
    Content,
    JsonObjectFormat,
    JsonSchemaFormat,
    SystemMessage,
)
from app.api.served import Served
from engine.errors import InvalidRequestError
from engine.types import GenerationRequest, Message, RunConfig, SamplingParams

_ANY_OBJECT = '{"type":"object"}'
_COMPLETION_MAX_TOKENS = 16
"""OpenAI's own default for completions."""


def chat_requests(call: ChatCall, served: Served, cache_salt: str) -> list[GenerationRequest]:
    """One request for each answer that is asked for.

    Raises:
        ApiError: the messages cannot be answered, or a value is out of the engine's range.
    """
    messages = _messages(call.messages)
    config = _config(call, served, **_chat_sampling(call))
    return [
        GenerationRequest(messages=messages, config=each, cache_salt=cache_salt, cold=served.cold)
        for each in _drawn(config, call.n or 1, call.seed)
    ]


def completion_requests(call: CompletionCall, served: Served, cache_salt: str) -> list[GenerationRequest]:
    """One request for each answer that is asked for, prompt by prompt.

    Raises:
        ApiError: there is nothing to continue, there are too many answers, or a value is out of the engine's range.
    """
    prompts = [call.prompt] if isinstance(call.prompt, str) else call.prompt
    if not all(prompts):
        raise ApiError(400, "The prompt is empty: there is nothing to continue.", param="prompt")
    count = call.n or 1
    if len(prompts) * count > MOST_ANSWERS:
        raise ApiError(400, f"A call may ask for {MOST_ANSWERS} answers: prompts times 'n'.", param="n")
    first: dict[str, Any] = {"top_logprobs": call.logprobs or 0}
    if call.max_tokens is None:
        first["max_tokens"] = _COMPLETION_MAX_TOKENS
    config = _config(call, served, **first)
    return [
        GenerationRequest(messages=(), completion=prompt, config=each, cache_salt=cache_salt, cold=served.cold)
        for prompt in prompts
        for each in _drawn(config, count, call.seed)
    ]


# --- messages ---------------------------------------------------------------------------------------


def _messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The conversation as the engine takes it.

    The system messages that it begins with become one, for many templates take no second; all others stay where they
    are, for the model's template to say what becomes of them. Several users' messages in a row stay several.
    """
    said: list[Message] = []
    for message in messages:
        role = "system" if isinstance(message, SystemMessage) else message.role
        content = _text(message.content)
        if role == "system" and len(said) == 1 and said[0].role == "system":
            said[0] = Message("system", f"{said[0].content}\n\n{content}")
        else:
            said.append(Message(role, content))
    where = f"messages[{len(messages) - 1}]"
    if said[-1].role != "user":
        raise ApiError(400, "The last message must be the user's: it is what is answered.", param=f"{where}.role")
    if not said[-1].content.strip():
        raise ApiError(400, "The last message is empty: there is nothing to answer.", param=f"{where}.content")
    return tuple(said)


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


# --- how tokens are chosen --------------------------------------------------------------------------


def _chat_sampling(call: ChatCall) -> dict[str, Any]:
    said: dict[str, Any] = {"top_logprobs": (call.top_logprobs or 0) if call.logprobs else 0}
    if call.max_completion_tokens is not None:
        said["max_tokens"] = call.max_completion_tokens
    match call.response_format:
        case JsonObjectFormat():
            said["json_schema"] = _ANY_OBJECT
        case JsonSchemaFormat(json_schema=wanted):
            said["json_schema"] = json.dumps(wanted.schema_, separators=(",", ":"))
        case None:
            pass
        case _:
            said["json_schema"] = None
    return said


def _config(call: Call, served: Served, **first: Any) -> RunConfig:
    """What is served, with what the call says otherwise. What it leaves out is as it was saved.

    Raises:
        ApiError: a value is out of the engine's range.
    """
    names = ("max_tokens", "temperature", "top_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
    said = {name: value for name in names if (value := getattr(call, name)) is not None} | first
    if call.top_k is not None:
        said["top_k"] = max(0, call.top_k)
    if call.stop is not None:
        said["stop"] = (call.stop,) if isinstance(call.stop, str) else tuple(call.stop)
    if call.logit_bias is not None:
        said["logit_bias"] = tuple(sorted((int(token), bias) for token, bias in call.logit_bias.items()))
    if call.seed is not None:
        said["seed"] = call.seed % 2**63
    try:
        return replace(served.config, sampling=replace(served.config.sampling, **said))
    except InvalidRequestError as error:
        raise ApiError(400, str(error)) from error


def _drawn(config: RunConfig, count: int, seed: int | None) -> list[RunConfig]:
    """One configuration for each of so many answers: sampled ones differ, those after a given seed count on from it."""
    sampling: SamplingParams = config.sampling
    if sampling.temperature == 0:
        return [config] * count
    first = secrets.randbits(63) if seed is None else sampling.seed
    return [replace(config, sampling=replace(sampling, seed=(first + place) % 2**63)) for place in range(count)]
