"""The rules that come with Gearbox, as somebody may have changed them, and those that somebody made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from app.operations.alerts.runbooks import RUNBOOKS
from app.store import ALL_TRAFFIC, Condition, Figure, Rule, Scope

FIGURES = {
    Figure.BURN: "Burn rate of each objective",
    Figure.ERRORS: "Error share",
    Figure.TTFT: "TTFT",
    Figure.TPOT: "TPOT",
    Figure.E2E: "E2E",
    Figure.QUALITY: "Wrong answers",
    Figure.HIT_RATE: "Prefix hit rate",
    Figure.ACCEPTANCE: "Acceptance length",
    Figure.ESCALATIONS: "Escalation share",
    Figure.REPETITION: "Repeating answers",
    Figure.DEGRADED: "Runs under a degradation alarm",
    Figure.STALE: "Stale cache caught",
    Figure.DISK: "Disk in use",
}
"""In the words of a form. The errors', wrong answers' and so on are shares of runs."""
LATENCIES = (Figure.TTFT, Figure.TPOT, Figure.E2E)
CONDITIONS: Mapping[Figure, tuple[Condition, ...]] = {
    figure: (Condition.ABOVE,)
    if figure in (Figure.BURN, Figure.STALE, Figure.DISK, *LATENCIES)
    else (Condition.ABOVE, Condition.BELOW, Condition.RISES, Condition.FALLS, Condition.DRIFTS)
    for figure in Figure
}
"""That make sense of each."""

_HOUR, _MINUTE, _DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)


def _rule(
    key: str,
    name: str,
    figure: Figure,
    condition: Condition,
    limit: float,
    window: timedelta,
    reference: timedelta = timedelta(0),
    *,
    least: int = 30,
    scope: Scope = ALL_TRAFFIC,
) -> Rule:
    return Rule(
        key=key,
        name=name,
        figure=figure,
        condition=condition,
        limit=limit,
        window=window,
        reference=reference,
        least=least,
        scope=scope,
        runbook=RUNBOOKS[figure],
    )


SHIPPED: tuple[Rule, ...] = (
    _rule("burn-fast", "Error budget burns fast", Figure.BURN, Condition.ABOVE, 14.4, _HOUR, 5 * _MINUTE, least=10),
    _rule("burn-medium", "Error budget burns", Figure.BURN, Condition.ABOVE, 6, 6 * _HOUR, 30 * _MINUTE, least=10),
    _rule("burn-slow", "Error budget burns slowly", Figure.BURN, Condition.ABOVE, 1, 3 * _DAY, 6 * _HOUR, least=30),
    _rule("errors", "Runs fail", Figure.ERRORS, Condition.ABOVE, 0.05, 15 * _MINUTE, least=10),
    _rule("quality", "More answers are wrong", Figure.QUALITY, Condition.RISES, 0.25, _DAY, 7 * _DAY, least=20),
    _rule("hit-rate", "Prefix hit rate falls", Figure.HIT_RATE, Condition.FALLS, 0.3, _HOUR, _DAY),
    _rule("acceptance", "Acceptance length falls", Figure.ACCEPTANCE, Condition.FALLS, 0.15, _HOUR, _DAY),
    _rule("escalations", "Escalation share drifts", Figure.ESCALATIONS, Condition.DRIFTS, 0.3, _HOUR, _DAY),
    _rule("repetition", "More answers repeat themselves", Figure.REPETITION, Condition.RISES, 0.5, _HOUR, _DAY),
    _rule("degraded", "More runs under a degradation alarm", Figure.DEGRADED, Condition.RISES, 0.5, _HOUR, _DAY),
    _rule("stale", "Stale cache caught", Figure.STALE, Condition.ABOVE, 0, _HOUR, least=1),
    _rule("disk", "Disk fills", Figure.DISK, Condition.ABOVE, 0.9, _MINUTE, least=1),
)
"""Switched on until somebody switches them off."""
_SHIPPED_BY_KEY = {rule.key: rule for rule in SHIPPED}


def all_rules(kept: Sequence[Rule]) -> tuple[Rule, ...]:
    """Those that come with Gearbox first.

    Args:
        kept: what somebody made or changed.
    """
    by_key = {rule.key: rule for rule in kept}
    shipped = (by_key.get(rule.key, rule) for rule in SHIPPED)
    return (*shipped, *(rule for rule in kept if rule.key not in _SHIPPED_BY_KEY))


def as_shipped(key: str) -> Rule | None:
    """How a rule came with Gearbox; ``None`` of one that somebody made."""
    return _SHIPPED_BY_KEY.get(key)
