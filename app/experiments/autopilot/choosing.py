"""Which of the configurations left is chosen, or what is in the way of all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app import units
from app.experiments.autopilot.goal import Goal, Limit, Reading
from app.experiments.autopilot.search import Found


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search ends with."""

    name: str | None
    """The fastest of those left that keep all limits, the baseline among them; ``None`` where none does."""
    text: str
    """Why, in a sentence."""
    nearest: tuple[str, ...] = ()
    """Where there is none: those that came nearest, with what is in their way, a sentence each."""


def choose(found: Found, goal: Goal, baseline: str) -> Choice:
    """Choose by what was measured on the prompts to search on.

    Args:
        found: the search.
        goal: what is to be kept.
        baseline: its name.
    """
    if baseline not in found.readings:
        return Choice(None, f"Nothing was measured. {found.stopped}")
    left = [found.readings[name] for name in dict.fromkeys([*found.alive, baseline])]
    keep = [each for each in left if not each.excess(goal)]
    if not keep:
        return _none(list(found.readings.values()), goal, baseline)
    best = min(keep, key=lambda each: (each.latency_s or 0.0, each.name != baseline))
    others = len(keep) - 1
    among = f", the fastest of {units.counted(others + 1, 'configuration')} left that do" if others else ""
    return Choice(
        best.name,
        f"“{best.name}” keeps all limits on {units.counted(best.prompts, 'prompt')} to search on{among}: "
        f"{goal.latency_name} {units.seconds(best.latency_s)}{_quality(best, baseline)}{_memory(best)}.",
    )


def _none(readings: list[Reading], goal: Goal, baseline: str) -> Choice:
    broken = {each.name: each.excess(goal) for each in readings}
    by_name = {each.name: each for each in readings}
    single: dict[Limit, str] = {}
    for limit in Limit:
        names = [name for name, excess in broken.items() if set(excess) == {limit}]
        if names:
            single[limit] = min(names, key=lambda name: broken[name][limit])
    if single:
        nearest = tuple(
            f"“{name}” would do but for {limit}: {_told(by_name[name], [limit], goal)}"
            for limit, name in single.items()
        )
        way = " or ".join(single)
        return Choice(None, f"None of {len(readings)} configurations keeps all limits. In the way is {way}.", nearest)
    name = min(broken, key=lambda name: sum(broken[name].values()))
    limits = list(broken[name])
    both = f"None of {len(readings)} configurations keeps all limits, and each breaks more than one."
    return Choice(None, both, (f"Nearest is “{name}”: {_told(by_name[name], limits, goal)}",))


def _told(each: Reading, limits: Collection[Limit], goal: Goal) -> str:
    return " ".join(_limit(each, limit, goal) for limit in limits)


def _limit(each: Reading, limit: Limit, goal: Goal) -> str:
    match limit:
        case Limit.LATENCY:
            known = units.seconds(each.latency_s) if each.latency_s not in (None, float("inf")) else "without an answer"
            return f"{goal.latency_name} is {known}, where {units.seconds(goal.seconds)} are allowed."
        case Limit.QUALITY:
            return (
                f"quality is {units.points(each.difference or 0.0)} against the baseline's on "
                f"{units.counted(each.prompts, 'prompt')}, "
                f"where −{goal.margin_points:g} are allowed."
            )
        case Limit.MEMORY:
            return f"it takes {units.memory(each.memory_bytes)}, where {units.memory(goal.memory_bytes)} are allowed."


def _quality(each: Reading, baseline: str) -> str:
    if each.name == baseline or each.difference is None:
        return ""
    return f", quality {units.points(each.difference)}"


def _memory(each: Reading) -> str:
    return "" if each.memory_bytes is None else f", {units.memory(each.memory_bytes)}"
