"""Synthetic traces: arrivals at a mean rate, evenly random or in bursts, with lengths drawn from distributions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import TypeAlias

from app.operations.traffic.arrivals import Arrival, Lengths, Trace
from engine.errors import InvalidRequestError

Draw: TypeAlias = Callable[[random.Random], int]
"""Draws a length in tokens."""

_LONGEST = 1_000_000
"""Tokens; what a distribution gives beyond is cut."""


def arrivals(
    *, rate: float, duration_s: float, cv: float, prompt_tokens: Draw, answer_tokens: Draw, seed: int = 0
) -> Trace:
    """A renewal process whose gaps have a gamma distribution.

    With a coefficient of variation of 1 the gaps are exponential, and arrivals a Poisson process; above 1 they come in
    bursts, below 1 more evenly. Shape and scale of the gamma distribution are 1 / cv² and cv² / rate, which makes the
    mean gap 1 / rate.

    Args:
        rate: requests a second, on average.
        duration_s: no request comes later.
        cv: standard deviation of the gaps over their mean, above 0.
        prompt_tokens: draws a prompt's length.
        answer_tokens: draws how much is to be answered at most.
        seed: another one gives another trace.
    """

    def draw() -> Iterator[Arrival]:
        source = random.Random(seed)
        at_s = source.gammavariate(1 / cv**2, cv**2 / rate)
        while at_s <= duration_s:
            prompt = Lengths(prompt_tokens(source))
            yield Arrival(at_s=at_s, prompt=prompt, max_tokens=answer_tokens(source))
            at_s += source.gammavariate(1 / cv**2, cv**2 / rate)

    return draw


def lengths(text: str) -> Draw:
    """A distribution of lengths by its description: ``256`` (always), ``100-500`` (uniform, both ends included), or
    ``lognormal:300:0.8`` (median, and standard deviation of the logarithm).

    Raises:
        InvalidRequestError: it is none of these.
    """
    match text.strip().lower().split(":"):
        case [alone] if alone.isascii() and alone.isdigit():
            low = high = int(alone)
        case [pair] if pair.count("-") == 1 and all(end.isascii() and end.isdigit() for end in pair.split("-")):
            low, high = map(int, pair.split("-"))
        case ["lognormal", median_text, sigma_text]:
            return _lognormal(text, median_text, sigma_text)
        case _:
            raise _unknown(text)
    if not 1 <= low <= high <= _LONGEST:
        raise _unknown(text)
    return lambda source: source.randint(low, high)


def _lognormal(text: str, median_text: str, sigma_text: str) -> Draw:
    try:
        median, sigma = float(median_text), float(sigma_text)
    except ValueError:
        raise _unknown(text) from None
    if not (1 <= median <= _LONGEST and 0 <= sigma <= 10):
        raise _unknown(text)
    most = math.log(_LONGEST)
    return lambda source: max(1, round(math.exp(min(most, source.gauss(math.log(median), sigma)))))


def _unknown(text: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{text[:60]!r} is no distribution of lengths. Give tokens as 256, 100-500 or lognormal:300:0.8 "
        f"(median, sigma), from 1 to {_LONGEST:,}."
    )
