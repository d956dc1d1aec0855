"""Between the rows of alerts and their records."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.store.alerts.records import Alert, AlertEvent, Condition, EventKind, Figure, Gear, Rule
from app.store.alerts.schema import AlertEventRow, AlertRow, AlertRuleRow
from app.store.objectives.records import Scope
from app.store.runs.records import RunSource

_SAME = (
    "id", "rule", "subject", "title", "words", "runbook", "runs_since", "runs_until", "opened_at", "told",
    "clear_since", "unknown_since", "acknowledged_at", "silenced_until", "resolved_at",
)  # fmt: skip
"""What is called alike in both."""


def keep_alert(session: Session, alert: Alert) -> None:
    """Write an alert as it stands."""
    scope = alert.scope
    session.merge(
        AlertRow(
            slot=None if alert.resolved_at else f"{alert.rule}/{alert.subject}",
            gear=alert.gear,
            model=scope.model,
            source=scope.source,
            config_hash=scope.config_hash,
            **{name: getattr(alert, name) for name in _SAME},
        )
    )


def to_alert(row: AlertRow) -> Alert:
    """The record of a row."""
    return Alert(gear=Gear(row.gear), scope=_scope(row), **{name: getattr(row, name) for name in _SAME})


def to_event(row: AlertEventRow) -> AlertEvent:
    """The record of a row."""
    return AlertEvent(
        id=row.id, alert_id=row.alert_id, at=row.at, what=EventKind(row.what), person=row.person, words=row.words
    )


def to_rule(row: AlertRuleRow) -> Rule:
    """The record of a row."""
    return Rule(
        key=row.key,
        name=row.name,
        figure=Figure(row.figure),
        condition=Condition(row.condition),
        limit=row.limit,
        window=timedelta(seconds=row.window_s),
        reference=timedelta(seconds=row.reference_s),
        least=row.least,
        percentile=row.percentile,
        scope=_scope(row),
        runbook=row.runbook,
        is_on=row.is_on,
    )


def to_rule_row(rule: Rule, created_at: datetime) -> AlertRuleRow:
    """The row of a record."""
    return AlertRuleRow(
        key=rule.key,
        name=" ".join(rule.name.split()),
        figure=rule.figure,
        condition=rule.condition,
        limit=rule.limit,
        window_s=int(rule.window.total_seconds()),
        reference_s=int(rule.reference.total_seconds()),
        least=rule.least,
        percentile=rule.percentile,
        model=rule.scope.model,
        source=rule.scope.source,
        config_hash=rule.scope.config_hash,
        runbook=rule.runbook,
        is_on=rule.is_on,
        created_at=created_at,
    )


def _scope(row: AlertRow | AlertRuleRow) -> Scope:
    source = None if row.source is None else RunSource(row.source)
    return Scope(model=row.model, source=source, config_hash=row.config_hash)
