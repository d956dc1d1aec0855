"""Objectives and figures in words."""

from __future__ import annotations

from datetime import timedelta

from app import units
from app.store import Metric, Objective, Scope

METRICS = {
    Metric.TTFT: "TTFT",
    Metric.TPOT: "TPOT",
    Metric.E2E: "E2E",
    Metric.ERRORS: "Errors",
    Metric.QUALITY: "Right answers",
}


def objective_name(objective: Objective) -> str:
    """What is promised, and of which runs: "TTFT p95 ≤ 1.00 s · smollm2-135m"."""
    return f"{promise_of(objective)}{scope_name(objective.scope)}"


def promise_of(objective: Objective) -> str:
    """The same without of which runs."""
    name = METRICS[objective.metric]
    match objective.metric:
        case Metric.ERRORS:
            return f"{name} ≤ {share(1 - objective.target)}"
        case Metric.QUALITY:
            return f"{name} ≥ {share(objective.target)}"
        case _:
            return f"{name} p{objective.target * 100:.4g} ≤ {units.seconds(objective.limit_s)}"


def scope_name(scope: Scope) -> str:
    """Which runs are meant, each part after a dot; empty for all."""
    configuration = scope.config_hash and f"configuration {scope.config_hash[:6]}"
    parts = (scope.model, scope.source and str(scope.source), configuration)
    return "".join(f" · {part}" for part in parts if part)


def share(value: float | None) -> str:
    """A share with as many digits as it needs: "5 %", "0.1 %"."""
    return units.MISSING if value is None else f"{value * 100:.4g} %"


def stretch(length: timedelta) -> str:
    """A length of time in its largest whole unit: "3 d", "6 h", "30 min"."""
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if length >= unit and not length % unit:
            return f"{length // unit:,} {name}"
    return units.seconds(length.total_seconds())
