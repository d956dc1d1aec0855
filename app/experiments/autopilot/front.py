"""The Pareto front: which configurations no other one beats in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.experiments.autopilot.goal import Reading

Costs = tuple[float, ...]
"""The less the better, each."""


def front(points: Mapping[str, Costs]) -> tuple[str, ...]:
    """The names of those that none dominates: no other one is as good in every cost and better in one."""
    return tuple(
        name for name, costs in points.items() if not any(dominates(other, costs) for other in points.values())
    )


def dominates(one: Costs, other: Costs) -> bool:
    """Whether one is as good in every cost, and better in at least one."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def pareto_front(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Of quality against the baseline, latency and memory, among the configurations of which all three are known."""
    return front(
        {
            each.name: (-each.difference, each.latency_s, each.memory_bytes)
            for each in readings
            if each.difference is not None and each.latency_s is not None and each.memory_bytes is not None
        }
    )
