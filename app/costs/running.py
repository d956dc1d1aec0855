"""What an answer costs: by the machine's time, alone or in company, and by somebody else's list price."""

from __future__ import annotations

from dataclasses import dataclass

from app.costs.errors import check_amount, check_positive
from app.costs.pricing import cost
from app.remote.prices import ListPrice

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Measured: how a machine answers requests of one kind."""

    prompt_tokens: float
    completion_tokens: float
    e2e_s: float
    """From the moment that it is taken up, waiting left out."""
    cached_tokens: float = 0.0
    """Of those of the prompt that were kept, as far as that is known."""
    at_once: float = 1.0
    """Batch size: requests that are answered together in that time; 1 is one after the other."""

    def __post_init__(self) -> None:
        """
        Raises:
            CostsError: a figure is out of range.
        """
        check_amount("The length of the prompt, in tokens,", self.prompt_tokens)
        check_amount("What was kept of the prompt, in tokens,", self.cached_tokens)
        check_positive("The length of the answer, in tokens,", self.completion_tokens)
        check_positive("The time of an answer, in seconds,", self.e2e_s)
        check_amount("The number of requests at once", self.at_once, least=1)

    @property
    def machine_s(self) -> float:
        """Seconds of the machine that one request takes."""
        return self.e2e_s / self.at_once

    @property
    def tokens_per_s(self) -> float:
        """Throughput: tokens of answers a second over all that are answered at once, reading prompts included."""
        return self.completion_tokens / self.machine_s


@dataclass(frozen=True, slots=True)
class RunCost:
    """Derived: in the currency of the prices."""

    request: float
    million_tokens: float
    """Of answers; their prompts are in the price."""


def own_cost(per_hour: float, served: Served) -> RunCost:
    """Derived: a machine's price per hour × the measured time that a request takes of it, the machine always busy.

    Raises:
        CostsError: the price is no number of 0 or more.
    """
    check_amount("The machine's price per hour", per_hour)
    each = cost(per_hour, served.machine_s)
    return RunCost(each, each / served.completion_tokens * _MILLION)


def listed_cost(
    price: ListPrice, prompt_tokens: float, completion_tokens: float, cached_tokens: float = 0.0
) -> RunCost:
    """Derived: what requests of this length cost at a list price; ``completion_tokens`` is above 0, and
    ``cached_tokens`` of those of the prompt were kept."""
    each = price.of(prompt_tokens, completion_tokens, cached_tokens)
    return RunCost(each, each / completion_tokens * _MILLION)


def savings_a_day(baseline: RunCost, candidate: RunCost, requests_per_day: float) -> float:
    """Derived: what the candidate saves against the baseline at a traffic; below 0 where it costs more.

    Raises:
        CostsError: the traffic is no number of 0 or more.
    """
    check_amount("Requests a day", requests_per_day)
    return (baseline.request - candidate.request) * requests_per_day
