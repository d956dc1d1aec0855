"""A request as OpenAI's API takes it, and what of it a server would not take before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import InvalidRequestError
from engine.types import GenerationRequest, RemoteModel, SamplingParams

_LOGPROBS = "logprobs"
_TOP_LOGPROBS = "top_logprobs"
_USAGE = "stream_options"
_MAX_TOKENS = "max_tokens"
_NEW_MAX_TOKENS = "max_completion_tokens"
_LEAST_TOP = 2
"""Likeliest tokens that are asked for, so that the margin between two is known."""
_SIGNS: Mapping[str, str] = {_LOGPROBS: _LOGPROBS, _USAGE: _USAGE, _MAX_TOKENS: _NEW_MAX_TOKENS}
"""What a server says where it does not take a field that can be done without."""
_WITHOUT: Mapping[str, str] = {
    _LOGPROBS: "The server tells no log-probabilities with this model.",
    _USAGE: "The server does not count tokens in a stream.",
    _MAX_TOKENS: "",  # asked for by its newer name
}


@dataclass(slots=True)
class Dialect:
    """What a server was found not to take with a model. Belongs to the network's thread."""

    left_out: set[str] = field(default_factory=set)
    too_many: int | None = None
    """As many likeliest tokens with each it refused to tell of."""

    def copy(self) -> Dialect:
        """To be tried with one request."""
        return Dialect(set(self.left_out), self.too_many)

    def adopt(self, tried: Dialect) -> None:
        """The server has taken a request in that dialect."""
        self.left_out |= tried.left_out
        self.too_many = min(filter(None, (self.too_many, tried.too_many)), default=None)

    def learn(self, said: str, body: Mapping[str, Any]) -> bool:
        """A server refused a request.

        Args:
            said: what it said of it.
            body: that it refused.

        Returns:
            Whether it may take the request without what it complains of, or with less of it.
        """
        found = next((name for name, sign in _SIGNS.items() if name in body and sign in said), None)
        asked = int(body.get(_TOP_LOGPROBS, body.get(_LOGPROBS, 0)))
        if found == _LOGPROBS and asked > _LEAST_TOP:
            self.too_many = asked
        elif found is not None:
            self.left_out.add(found)
        return found is not None

    def most_likeliest(self, sampling: SamplingParams) -> int:
        """Likeliest tokens that are asked for with each: at least as many as tell how close a call was."""
        most = max(_LEAST_TOP, sampling.top_logprobs)
        return most if self.too_many is None or most < self.too_many else _LEAST_TOP


def path_of(request: GenerationRequest) -> str:
    """Where below the API's root it is asked."""
    return "/completions" if request.completion is not None else "/chat/completions"


def body_of(request: GenerationRequest, model: RemoteModel, dialect: Dialect) -> dict[str, Any]:
    """The JSON that asks for a streamed answer.

    Raises:
        InvalidRequestError: it asks for what no server does.
    """
    if request.prefix_ids:
        raise InvalidRequestError(f"{model.name} runs on a server, which cannot go on from the middle of an answer.")
    said: dict[str, Any] = (
        {"messages": [{"role": each.role, "content": each.content} for each in request.messages]}
        if request.completion is None
        else {"prompt": request.completion}
    )
    sampling = request.config.sampling
    body = {
        "model": model.served_name,
        **said,
        "stream": True,
        _USAGE: {"include_usage": True},
        **_sampling(sampling),
        **_logprobs(dialect.most_likeliest(sampling), is_chat=request.completion is None),
    }
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": json.loads(sampling.json_schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if _MAX_TOKENS in dialect.left_out:
        body[_NEW_MAX_TOKENS] = body[_MAX_TOKENS]
    for name in dialect.left_out:
        body.pop(name, None)
        if name == _LOGPROBS:
            body.pop(_TOP_LOGPROBS, None)
    return body


def notes_of(request: GenerationRequest, dialect: Dialect) -> tuple[str, ...]:
    """What a server may do otherwise than it was asked to, a sentence each."""
    sampling = request.config.sampling
    notes = [_WITHOUT[name] for name in sorted(dialect.left_out) if _WITHOUT[name]]
    if _LOGPROBS not in dialect.left_out and (most := dialect.most_likeliest(sampling)) < sampling.top_logprobs:
        notes.append(f"The server does not tell of {sampling.top_logprobs} likeliest tokens: {most} were asked for.")
    if sampling.repetition_penalty != 1:
        notes.append("A repetition penalty is no part of OpenAI's API: the server may have passed over it.")
    if sampling.temperature > 0 and sampling.top_k:
        notes.append("Top-k is no part of OpenAI's API: the server may have passed over it.")
    if sampling.temperature > 0:
        notes.append("The server draws random numbers of its own: a seed gives other tokens there than here.")
    return tuple(notes)


def _sampling(sampling: SamplingParams) -> dict[str, Any]:
    """What differs from what every server does by itself, and what servers have defaults of their own for."""
    more: dict[str, Any] = {}
    if sampling.temperature > 0:
        more["seed"] = sampling.seed
        if sampling.top_k:
            more["top_k"] = sampling.top_k
    if sampling.repetition_penalty != 1:
        more["repetition_penalty"] = more["repeat_penalty"] = sampling.repetition_penalty  # vLLM's and llama.cpp's name
    if sampling.stop:
        more["stop"] = list(sampling.stop)
    for name in ("frequency_penalty", "presence_penalty"):
        if value := getattr(sampling, name):
            more[name] = value
    if sampling.logit_bias:
        more["logit_bias"] = {str(token_id): bias for token_id, bias in sampling.logit_bias}
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        _MAX_TOKENS: sampling.max_tokens,
        **more,
    }


def _logprobs(most: int, *, is_chat: bool) -> dict[str, Any]:
    return {_LOGPROBS: True, _TOP_LOGPROBS: most} if is_chat else {_LOGPROBS: most}
