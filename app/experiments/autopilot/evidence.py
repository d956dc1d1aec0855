"""What the prompts that were held out say of the configuration that was chosen without them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app import units
from app.experiments.autopilot.goal import Goal, Limit
from app.experiments.autopilot.measuring import heat_of
from app.experiments.results.arrays import Results
from app.experiments.statistics import Interval, State, quantile_interval
from app.experiments.verdicts.decision import Decision, decide


class Shown(StrEnum):
    """What the held-out prompts show of a limit."""

    KEPT = "kept"
    OPEN = "not shown yet"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class LimitEvidence:
    """Of one limit."""

    limit: Limit
    shown: Shown
    text: str
    """One sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Of all limits, on the held-out prompts."""

    name: str
    prompts: int
    limits: tuple[LimitEvidence, ...]
    decision: Decision | None
    """Held against the baseline; ``None`` where the baseline itself was chosen."""
    disturbed: int
    """Prompts whose times are of disturbed runs alone."""

    @property
    def shown(self) -> Shown:
        """Of all limits together."""
        found = {each.shown for each in self.limits}
        return next((each for each in (Shown.BROKEN, Shown.OPEN) if each in found), Shown.KEPT)

    @property
    def text(self) -> str:
        """What it comes to, in a sentence."""
        told = units.counted(self.prompts, "held-out prompt")
        match self.shown:
            case Shown.KEPT:
                return f"On {told} “{self.name}” keeps all limits."
            case Shown.OPEN:
                still = ", ".join(each.limit for each in self.limits if each.shown is Shown.OPEN)
                return f"On {told} “{self.name}” is not shown to break a limit; not shown to be kept yet: {still}."
            case Shown.BROKEN:
                broken = ", ".join(each.limit for each in self.limits if each.shown is Shown.BROKEN)
                return f"On {told} “{self.name}” does not keep what it promised: {broken}. Do not use it for this goal."


def evidence_of(results: Results, goal: Goal) -> Evidence | None:
    """Read an experiment on held-out prompts, in which the last configuration is the one that was chosen; ``None``
    before it was timed on one."""
    place = len(results.names) - 1
    name, is_baseline = results.names[place], place == results.design.baseline
    observed = heat_of(results, goal, 1.0, complete=False).observed[name]
    if not observed.seconds:
        return None
    decision = None if is_baseline else decide(results, place, margin=goal.margin_points / 100)
    limits = [_latency(np.array(list(observed.seconds.values())), goal)]
    if decision is not None and decision.quality is not None:
        shown = {State.KEPT: Shown.KEPT, State.OPEN: Shown.OPEN, State.WORSE: Shown.BROKEN}
        limits.append(LimitEvidence(Limit.QUALITY, shown[decision.quality.shown.state], decision.quality.text))
    elif is_baseline:
        limits.append(LimitEvidence(Limit.QUALITY, Shown.KEPT, "It is the baseline: its quality is the baseline's."))
    else:
        none = "No held-out prompt with a checker was answered by both."
        limits.append(LimitEvidence(Limit.QUALITY, Shown.OPEN, none))
    if goal.memory_bytes is not None and observed.memory_bytes is not None:
        kept = observed.memory_bytes <= goal.memory_bytes
        most = f"Weights and KV take {units.memory(observed.memory_bytes)} at most"
        text = (
            f"{most}, within {units.memory(goal.memory_bytes)}."
            if kept
            else (f"{most}, above {units.memory(goal.memory_bytes)}.")
        )
        limits.append(LimitEvidence(Limit.MEMORY, Shown.KEPT if kept else Shown.BROKEN, text))
    return Evidence(
        name=name,
        prompts=len(observed.seconds),
        limits=tuple(limits),
        decision=decision,
        disturbed=int(results.disturbed[place].sum()),
    )


def _latency(seconds: np.ndarray, goal: Goal) -> LimitEvidence:
    """The interval of the percentile held against the SLO."""
    interval = quantile_interval(seconds, goal.percentile / 100)
    value = float(np.percentile(seconds, goal.percentile, method="higher"))
    told = f"{goal.latency_name} is {_seconds(value)} (95 %: {_range(interval)})"
    allowed = units.seconds(goal.seconds)
    if interval.high <= goal.seconds:
        return LimitEvidence(Limit.LATENCY, Shown.KEPT, f"{told}, within {allowed}.")
    if interval.low > goal.seconds:
        return LimitEvidence(Limit.LATENCY, Shown.BROKEN, f"{told}, above {allowed}.")
    where = "within" if value <= goal.seconds else "above"
    return LimitEvidence(Limit.LATENCY, Shown.OPEN, f"{told}: {where} {allowed}, but too few prompts to be sure.")


def _range(interval: Interval) -> str:
    if np.isinf(interval.low) or np.isinf(interval.high):
        if np.isinf(interval.low):
            return f"at most {_seconds(interval.high)}" if np.isfinite(interval.high) else "too few prompts to tell"
        return f"at least {_seconds(interval.low)}"
    return f"{_seconds(interval.low)} to {_seconds(interval.high)}"


def _seconds(value: float) -> str:
    return units.seconds(value) if np.isfinite(value) else "without an answer"
