"""What a request of a trace is: when it arrives, what is asked, how much is to be answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from engine.errors import InvalidRequestError

BLOCK_TOKENS = 512
"""Of a block of prompt in Mooncake's traces."""


class TraceError(InvalidRequestError):
    """A trace that cannot be read. The message names the line, and the field where it is one."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """A prompt of which only the length is known; its text has to be made up."""

    tokens: int
    block_ids: tuple[int, ...] = ()
    """Of each block of 512 tokens, the last one possibly shorter: equal ids stand for equal text."""


Messages: TypeAlias = tuple[Mapping[str, Any], ...]
"""A conversation as the API takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A request of a trace."""

    at_s: float
    """Seconds since the trace's first."""
    prompt: Lengths | Messages
    max_tokens: int
    """Tokens that are to be answered at most."""
    session: str | None = None
    """Whose it is, sent as OpenAI's ``user``."""


Trace: TypeAlias = Callable[[], Iterator[Arrival]]
"""Gives the arrivals from the first on, the same ones each time, in the order of their times."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is of a trace."""

    requests: int
    duration_s: float
    """From its first request to its last."""
    has_lengths: bool
    """Whether it has prompts of which only the length is known."""


def limited(trace: Trace, limit: int | None) -> Trace:
    """The first requests of a trace; all of them without a limit."""
    return lambda: islice(trace(), limit)


def extent_of(trace: Trace) -> Extent:
    """Go through a trace to its end, so that what is wrong with it is known before anything is sent.

    Raises:
        TraceError: it cannot be read, or is empty.
    """
    requests, at_s, has_lengths = 0, 0.0, False
    for arrival in trace():
        requests += 1
        at_s = arrival.at_s
        has_lengths |= isinstance(arrival.prompt, Lengths)
    if not requests:
        raise TraceError("There are no requests in it.")
    return Extent(requests, at_s, has_lengths)
