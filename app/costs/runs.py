"""What one run costs: this machine's time at its price per hour, and a server's tokens at its list price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from app.costs.pricing import cost
from app.remote.prices import ListPrice
from engine.types import CascadeReport, RemoteReport, RunConfig, RunMetrics

_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class RunPrice:
    """Derived: in the currency of the prices."""

    amount: float
    machine_s: float
    """Seconds of this machine that it took."""
    listed: bool = False
    """Whether a list price is in it."""


def run_price(
    config: RunConfig,
    metrics: RunMetrics,
    *,
    per_hour: float,
    prices: Mapping[str, ListPrice],
    cascade: CascadeReport | None = None,
    remote: RemoteReport | None = None,
) -> RunPrice | None:
    """What a run costs, waiting left out; ``None`` where a server answered whose list price nobody entered, or that
    did not count the prompt's tokens.

    Args:
        config: what it was asked for with.
        metrics: what it measured.
        per_hour: of this machine.
        prices: list prices by remote model.
        cascade: the way up its tiers, if it had one.
        remote: what the server told, if one answered.
    """
    if not any(tier.is_remote for tier in config.ladder):
        busy_s = metrics.e2e_s - metrics.queue_s
        return RunPrice(cost(per_hour, busy_s), busy_s)
    cached = (remote.cached_tokens if remote else None) or 0
    if cascade is None:
        price = prices.get(config.model)
        if price is None or (remote and not remote.prompt_counted):
            return None
        cached = min(cached, metrics.prompt_tokens)
        return RunPrice(price.of(metrics.prompt_tokens, metrics.completion_tokens, cached), 0.0, listed=True)
    tiers, amount, machine_s, listed = {str(tier): tier for tier in config.ladder}, 0.0, 0.0, False
    for attempt in cascade.attempts:
        if attempt.passed_over:
            continue
        tier = tiers[attempt.tier]
        if not tier.is_remote:
            amount, machine_s = amount + cost(per_hour, attempt.seconds), machine_s + attempt.seconds
            continue
        price = prices.get(tier.model)
        if price is None or not attempt.prompt_tokens:
            return None
        reused = min(cached, attempt.prompt_tokens) if attempt is cascade.attempts[-1] else 0
        amount, listed = amount + price.of(attempt.prompt_tokens, attempt.tokens, reused), True
    return RunPrice(amount, machine_s, listed=listed)


@dataclass(frozen=True, slots=True)
class Costs:
    """Derived: what prompts like one that was measured cost, in the currency of the prices."""

    prompt: float
    thousand: float
    day: float
    hours_a_day: float
    """Of this machine; beyond 24, one machine is not enough."""

    @classmethod
    def of(cls, price: RunPrice, prompts_per_day: int) -> Self:
        """At a traffic, one prompt after the other."""
        each, hours = price.amount, price.machine_s / _SECONDS_PER_HOUR
        return cls(each, 1_000 * each, prompts_per_day * each, prompts_per_day * hours)
