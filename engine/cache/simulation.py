"""What a prefix cache would make of a log of requests, at several budgets, without a model.

Text is cut into pieces of up to four characters, which is about what a tokenizer makes of English: two texts share
pieces where they would share tokens, and the figures are estimates. A trace of block hashes is taken block by block.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from zlib import crc32

import numpy as np

from engine.cache.prefix_index import CacheIdentity, Ids, PrefixIndex, as_ids
from engine.errors import InvalidRequestError
from engine.untrusted import read_jsonl

BLOCK_TOKENS = 512
"""Tokens that one hash of a trace stands for, as in the traces that Mooncake published (arXiv:2407.00079)."""
_PIECES = re.compile(r"\s?\w{1,4}|\s|[^\w\s]")
_USER, _ASSISTANT = "user", "assistant"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request of a log."""

    at: float
    """When it arrived, in seconds; requests without a time follow one another."""
    session: str
    prompt: Ids
    answer: Ids
    unit_tokens: int
    """Tokens that one id stands for."""


@dataclass(frozen=True, slots=True)
class SimulatedBudget:
    """What a budget gave."""

    budget_bytes: int
    hit_rate: float
    """Prompt tokens reused over prompt tokens."""
    evictions: int


def read_log(text: str, at_once: int = 8) -> tuple[LoggedRequest, ...]:
    """Read a log, one JSON object a line, in the order of arrival.

    A line is a conversation (``messages`` with role and content, or ``history`` with user and bot), each user turn of
    which is a request; or one request of a trace (``hash_ids``). ``time`` or ``timestamp`` says when it arrived and
    ``session`` whose it is; a conversation without one is a session of its own. Of conversations without a time
    ``at_once`` are held at the same time, turn by turn, and the next begins when one ends.

    Raises:
        InvalidRequestError: a line cannot be read, or there is none.
    """
    requests: list[LoggedRequest] = []
    free = [0.0] * at_once  # a heap: when each place for a conversation without a time is free again
    for record in read_jsonl(text):
        at = record.fields.get("time", record.fields.get("timestamp"))
        try:
            found = _requests(record.fields, record.line, free[0] if at is None else _moment(at))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidRequestError(
                f"Line {record.line:,}: neither a conversation (messages, history) nor a request of a trace "
                f"(hash_ids): {type(error).__name__}: {error}."
            ) from error
        if at is None:
            heapq.heapreplace(free, free[0] + len(found))
        requests += found
    if not requests:
        raise InvalidRequestError("This log holds no requests.")
    return tuple(sorted(requests, key=lambda request: request.at))


def simulate(
    requests: Sequence[LoggedRequest],
    budgets: Iterable[int],
    bytes_per_token: int,
    progress: Callable[[float], None] = lambda fraction: None,
) -> tuple[SimulatedBudget, ...]:
    """Hit rate by budget.

    Args:
        requests: in the order of arrival.
        budgets: in bytes.
        bytes_per_token: what the KV of one token takes.
        progress: told the fraction done, budget by budget.
    """
    wanted = list(budgets)
    results = []
    for at, budget_bytes in enumerate(wanted):
        results.append(_simulate(requests, budget_bytes, bytes_per_token))
        progress((at + 1) / len(wanted))
    return tuple(results)


def _simulate(requests: Sequence[LoggedRequest], budget_bytes: int, bytes_per_token: int) -> SimulatedBudget:
    ticks = iter(range(10**9))
    index: PrefixIndex[None] = PrefixIndex(budget_bytes, clock=lambda: float(next(ticks)))
    reused = asked = 0
    for request in requests:
        identity = CacheIdentity("", "", "", "", None, request.session)
        match = index.nearest([identity], request.prompt)
        asked += len(request.prompt) * request.unit_tokens
        if match:
            tokens = min(match.tokens, len(request.prompt) - 1)
            index.count(match.kept, tokens)
            reused += tokens * request.unit_tokens
        whole = np.concatenate([request.prompt, request.answer])
        index.add(identity, whole, (), None, len(whole) * request.unit_tokens * bytes_per_token)
    return SimulatedBudget(budget_bytes, reused / asked, index.evictions)


def _moment(at: Any) -> float:
    moment = float(at)
    if not math.isfinite(moment):
        raise ValueError(f"{at!r} is no time")
    return moment


def _requests(entry: dict[str, Any], number: int, at: float) -> list[LoggedRequest]:
    session = str(entry.get("session", f"line {number}"))
    if "hash_ids" in entry:
        # blocks are shared by whoever sends them, as in the cluster that the trace is of
        blocks = as_ids([crc32(str(block).encode()) & 0x7FFFFFFF for block in entry["hash_ids"]])
        session = str(entry.get("session", "trace"))
        return [LoggedRequest(at, session, blocks, as_ids([]), BLOCK_TOKENS)] if len(blocks) else []
    turns = _turns(entry)
    texts = [f"<{role}>{content}" for role, content in turns]
    pieces = [[crc32(piece.encode()) & 0x7FFFFFFF for piece in _PIECES.findall(text)] for text in texts]
    ends = list(accumulate(map(len, pieces)))
    flat = as_ids([piece for text in pieces for piece in text])
    return [
        # a conversation's own turns follow one another; others come in between. All are views of one array.
        LoggedRequest(at + turn, session, flat[: ends[i]], flat[ends[i] : (*ends, ends[-1])[i + 1]], 1)
        for turn, i in enumerate(i for i, (role, _) in enumerate(turns) if role == _USER)
    ]


def _turns(entry: dict[str, Any]) -> list[tuple[str, str]]:
    if "history" in entry:
        return [turn for pair in entry["history"] for turn in ((_USER, pair["user"]), (_ASSISTANT, pair["bot"]))]
    return [(message["role"], message["content"]) for message in entry["messages"]]
