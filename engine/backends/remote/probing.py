"""A connection test: what a server says of itself, and what it does when it is asked for a few tokens."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.backends.remote.asking import Dialect
from engine.backends.remote.breaker import Breaker
from engine.backends.remote.counters import Counters, read_counters
from engine.backends.remote.exchange import Exchange
from engine.backends.remote.listing import get, listing
from engine.backends.remote.network import open_client
from engine.backends.remote.reading import ALL_AT_ONCE, AnswerReader
from engine.backends.remote.words import count_of, one_line
from engine.errors import RemoteError
from engine.types import (
    Ability,
    Backend,
    GenerationRequest,
    Message,
    RemoteAbilities,
    RemoteModel,
    RunConfig,
    SamplingParams,
)

if TYPE_CHECKING:
    import httpx2

_TOKENS = 4
_PROMPT = "Say hello."
_CONTEXT_NAMES = ("max_model_len", "context_length", "max_context_length", "n_ctx", "context_window")


def probe(model: RemoteModel) -> RemoteAbilities:
    """Connect to a server, ask what it has, and have it write a few tokens. Blocks for as long as that takes, at most
    the model's own time-outs. Whatever goes wrong is told as a problem and never raised."""
    return asyncio.run(_probe(model))


async def _probe(model: RemoteModel) -> RemoteAbilities:
    async with open_client() as http:
        found = await _ask_for_models(http, model)
        if found.models and model.served_name not in found.models:
            found = _with_problem(found, f"The server has no model {model.served_name!r}.")
        found = await _write(http, model, found)
        return await _look_at_metrics(http, model, found)


async def _ask_for_models(http: httpx2.AsyncClient, model: RemoteModel) -> RemoteAbilities:
    found = RemoteAbilities()
    try:
        listed = await listing(http, model.url, model.key)
    except RemoteError as error:
        return _with_problem(found, str(error))
    mine = next((entry for entry in listed.entries if entry["id"] == model.served_name), {})
    return replace(
        found,
        models=listed.models,
        context_length=await _context_length(http, model, mine),
        software=await _software(http, model, listed.headers, mine or next(iter(listed.entries), {})),
    )


async def _write(http: httpx2.AsyncClient, model: RemoteModel, found: RemoteAbilities) -> RemoteAbilities:
    """What the server does when it is asked for a few tokens."""
    config = RunConfig(model=model.name, backend=Backend.REMOTE, sampling=SamplingParams(max_tokens=_TOKENS))
    request = GenerationRequest(messages=(Message("user", _PROMPT),), config=config)
    exchange = Exchange(http, model, request, Dialect(), Breaker(model.server))
    begun, first_s, pieces, chances = perf_counter(), None, 0, 0
    try:
        async for piece in exchange.pieces():
            first_s = perf_counter() - begun if first_s is None else first_s
            pieces += 1
            chances += any(not math.isnan(token.logprob) for token in piece.tokens)
    except RemoteError as error:
        return _with_problem(replace(found, connect_s=exchange.connect_s), str(error))
    reader = exchange.reader
    written = replace(
        found,
        streams=Ability.NO if ALL_AT_ONCE in reader.notes else Ability.YES,
        usage_in_stream=_ability(reader.completion_tokens is not None),
        cached_tokens=_cached_tokens(reader),
        logprobs=_ability(chances > 0) if pieces else Ability.UNKNOWN,
        connect_s=found.connect_s if exchange.connect_s is None else exchange.connect_s,
        first_token_s=first_s,
    )
    return written if pieces else _with_problem(written, "The server's answer was empty.")


async def _look_at_metrics(http: httpx2.AsyncClient, model: RemoteModel, found: RemoteAbilities) -> RemoteAbilities:
    """Whether counters of the model can be read; without an address for them that is not known."""
    if model.metrics_url is None:
        return found
    counters = await read_counters(http, model)
    if counters is None:
        return _with_problem(
            replace(found, metrics=Ability.NO), f"No metrics can be read at {urlsplit(model.metrics_url).netloc}."
        )
    if counters == Counters():
        return _with_problem(
            replace(found, metrics=Ability.NO), "The metrics hold no counters that are known here, of this model."
        )
    return replace(found, metrics=Ability.YES)


def _cached_tokens(reader: AnswerReader) -> Ability:
    """Some servers tell of kept tokens only where there are some."""
    if reader.cached_tokens is not None:
        return Ability.YES
    return Ability.NO if reader.completion_tokens is None else Ability.UNKNOWN


async def _context_length(http: httpx2.AsyncClient, model: RemoteModel, entry: dict[str, Any]) -> int | None:
    """As the list of models tells it, or llama-server's properties."""
    meta = entry.get("meta")
    for tree in (entry, meta if isinstance(meta, dict) else {}):
        for name in _CONTEXT_NAMES:
            if told := count_of(tree, name):
                return told
    properties = await _beside(http, model, "/props")
    return count_of(properties, "default_generation_settings", "n_ctx") or None


async def _software(
    http: httpx2.AsyncClient, model: RemoteModel, headers: httpx2.Headers, entry: dict[str, Any]
) -> str | None:
    """What serves, as far as it tells."""
    owner = entry.get("owned_by")
    if owner in ("vllm", "sglang"):
        name, path = ("vLLM", "/version") if owner == "vllm" else ("SGLang", "/get_server_info")
        version = (await _beside(http, model, path)).get("version")
        return f"{name} {one_line(version, None)}" if isinstance(version, str) else name
    if owner == "llamacpp":
        return "llama.cpp"
    if owner == "gearbox":
        return "Gearbox"
    version = (await _beside(http, model, "/api/version")).get("version")
    if isinstance(version, str):
        return f"Ollama {one_line(version, None)}"
    served_by = headers.get("server", "")
    return None if served_by.lower() in ("", "uvicorn", "cloudflare", "nginx") else one_line(served_by, model.key)


async def _beside(http: httpx2.AsyncClient, model: RemoteModel, path: str) -> dict[str, Any]:
    """What the server says at a path beside its API; empty where it says nothing."""
    import httpx2

    parts = urlsplit(model.url)
    try:
        told = await get(http, f"{parts.scheme}://{parts.netloc}{path}", model.key)
    except httpx2.HTTPError:
        return {}
    return told.tree if told.status == httpx2.codes.OK and isinstance(told.tree, dict) else {}


def _ability(holds: bool) -> Ability:
    return Ability.YES if holds else Ability.NO


def _with_problem(found: RemoteAbilities, problem: str) -> RemoteAbilities:
    problems = found.problems if problem in found.problems else (*found.problems, problem)
    return replace(found, problems=problems)
