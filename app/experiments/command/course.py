"""What an autopilot came to, as texts and as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from app import units
from app.experiments.autopilot.course import Course
from app.experiments.autopilot.evidence import Evidence
from app.experiments.autopilot.front import pareto_front
from app.experiments.autopilot.goal import Reading
from app.experiments.results.table import aligned


def course_text(course: Course) -> str:
    """The Pareto front, what was chosen, and its evidence; or what is in the way. Ends with a line break."""
    return "\n".join([_front(course), *_verdict(course), ""])


def _front(course: Course) -> str:
    """The configurations that no other one beats in everything, the fastest first, and the baseline."""
    goal, baseline = course.plan.goal, course.plan.baseline.name
    readings = course.found.readings
    best = set(pareto_front(list(readings.values())))
    shown = [each for each in readings.values() if each.name in {*best, baseline}]
    rows = [["On the Pareto front", "Prompts", goal.latency_name, "Points", "Quality kept", "Memory", "Breaks"]]
    for each in sorted(shown, key=lambda each: math.inf if each.latency_s is None else each.latency_s):
        rows.append(
            [
                each.name,
                f"{each.prompts:,}",
                units.seconds(_finite(each.latency_s)),
                units.MISSING if each.difference is None else units.signed(100 * each.difference),
                units.percent(each.kept),
                units.memory(each.memory_bytes),
                ", ".join(each.excess(goal)) or "nothing",
            ]
        )
    measured = f"{units.counted(len(readings), 'configuration')} measured, of {course.plan.possible + 1:,} that can be."
    return f"Goal: {course.plan.goal.text}. {measured}\n\n{aligned(rows)}"


def _verdict(course: Course) -> Iterator[str]:
    choice = course.choice
    if choice is None:
        yield "It has not come to its end."
        return
    if choice.name is None:
        yield f"No configuration. {choice.text}"
        yield from (f"- {each}" for each in choice.nearest)
        return
    yield f"Chosen: {choice.name}. {choice.text}"
    if course.evidence is None:
        yield course.without_evidence
        return
    yield course.evidence.text
    yield from (f"- {str(each.limit).capitalize()}, {each.shown}: {each.text}" for each in course.evidence.limits)
    if course.evidence.decision is not None:
        yield course.evidence.decision.speed.text
    if course.evidence.disturbed:
        yield f"Times of {units.counted(course.evidence.disturbed, 'prompt')} are of disturbed runs alone."


# --- as JSON --------------------------------------------------------------------------------------------


def course_tree(course: Course) -> dict[str, Any]:
    """All of it as plain JSON values. Times in seconds, sizes in bytes, quality as shares."""
    choice, chosen, found = course.choice, course.chosen, course.found
    best = set(pareto_front(list(found.readings.values())))
    return {
        "name": course.plan.name,
        "goal": course.plan.goal.to_dict(),
        "chosen": chosen.name if chosen else None,
        "configuration": chosen.config.to_dict() if chosen else None,
        "why": choice.text if choice else "",
        "nearest": list(choice.nearest) if choice else [],
        "measured": [{**_reading(each, course), "front": each.name in best} for each in found.readings.values()],
        "not_reached": list(found.not_reached),
        "seconds": found.seconds,
        "evidence": _evidence(course.evidence, course.evidence_id) if course.evidence else None,
        "without_evidence": course.without_evidence,
    }


def _reading(each: Reading, course: Course) -> dict[str, Any]:
    return {
        "name": each.name,
        "prompts": each.prompts,
        "latency_s": _finite(each.latency_s),
        "quality": each.quality,
        "difference": each.difference,
        "quality_kept": each.kept,
        "memory_bytes": each.memory_bytes,
        "breaks": [str(limit) for limit in each.excess(course.plan.goal)],
    }


def _evidence(evidence: Evidence, experiment: str | None) -> dict[str, Any]:
    return {
        "shown": str(evidence.shown),
        "text": evidence.text,
        "prompts": evidence.prompts,
        "disturbed": evidence.disturbed,
        "limits": [{"limit": str(each.limit), "shown": str(each.shown), "text": each.text} for each in evidence.limits],
        "experiment": experiment,
    }


def _finite(seconds: float | None) -> float | None:
    """Without an answer there is no time."""
    return seconds if seconds is not None and math.isfinite(seconds) else None
