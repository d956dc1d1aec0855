"""How an alert goes on: pure functions of what was kept of it and what is found now.

A moment kept may lie ahead where the clock was set back; it then counts as this one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.store.alerts.records import Alert, EventKind, Finding

CLEAR_AFTER = timedelta(minutes=5)
"""So long a condition must not hold before its alert is resolved: one that comes and goes is told of once."""
FORGET_AFTER = timedelta(days=1)
"""So long nobody can tell, for want of runs, before an alert is resolved."""


@dataclass(frozen=True, slots=True)
class Step:
    """How an alert stands after somebody has looked."""

    alert: Alert | None
    """``None`` where there is none."""
    event: EventKind | None = None
    """What is to be written into its history."""
    tell: bool = False
    """Whether the channels are told of that."""
    words: str = ""
    """Why an alert is resolved whose condition may still hold."""


def observe(alert: Alert | None, finding: Finding, now: datetime, *, id: str, silenced_until: datetime | None) -> Step:
    """How an alert goes on with what was found.

    Args:
        alert: the open one of the rule and the subject; ``None`` where none is open.
        finding: what was found.
        now: this moment.
        id: of a new alert.
        silenced_until: how long the one before is silenced, whose silence a new one goes on with.
    """
    if alert is None:
        return Step(None) if not finding.holds else _opened(finding, now, id, silenced_until)
    if finding.holds is None:
        unknown_since = _earlier(alert.unknown_since, now)
        if now - unknown_since < FORGET_AFTER:
            return Step(replace(alert, unknown_since=unknown_since))
        return _resolved(replace(alert, unknown_since=unknown_since), now)
    if not finding.holds:
        clear_since = _earlier(alert.clear_since, now)
        cleared = replace(alert, clear_since=clear_since, unknown_since=None)
        return Step(cleared) if now - clear_since < CLEAR_AFTER else _resolved(cleared, now)
    going_on = replace(
        alert,
        title=finding.title,
        words=finding.words,
        runs_until=max(alert.runs_until, finding.until),
        clear_since=None,
        unknown_since=None,
    )
    if going_on.told or going_on.is_silent(now) or going_on.acknowledged_at is not None:
        return Step(going_on)
    return Step(replace(going_on, told=True), EventKind.FIRED, tell=True)


def acknowledge(alert: Alert, now: datetime) -> Step:
    """Somebody takes it up: nobody is told again until it is resolved."""
    if alert.resolved_at is not None or alert.acknowledged_at is not None:
        return Step(alert)
    return Step(replace(alert, acknowledged_at=now), EventKind.ACKNOWLEDGED)


def silence(alert: Alert, until: datetime, now: datetime) -> Step:
    """Nobody is told of it, or of the next ones of its rule, until a moment; one that is past ends a silence."""
    if until > now:
        return Step(replace(alert, silenced_until=until), EventKind.SILENCED)
    return Step(replace(alert, silenced_until=None), EventKind.UNSILENCED) if alert.is_silent(now) else Step(alert)


def close(alert: Alert, now: datetime, why: str) -> Step:
    """Its rule or its objective is no longer there, or off; who was told that it fires is told that."""
    return replace(_resolved(alert, now), words=why) if alert.resolved_at is None else Step(alert)


def _opened(finding: Finding, now: datetime, id: str, silenced_until: datetime | None) -> Step:
    opened = Alert(
        id=id,
        rule=finding.rule,
        subject=finding.subject,
        title=finding.title,
        words=finding.words,
        gear=finding.gear,
        runbook=finding.runbook,
        scope=finding.scope,
        runs_since=finding.since,
        runs_until=finding.until,
        opened_at=now,
        silenced_until=silenced_until,
    )
    silent = opened.is_silent(now)
    return Step(replace(opened, told=not silent), EventKind.FIRED, tell=not silent)


def _resolved(alert: Alert, now: datetime) -> Step:
    tell = alert.told and not alert.is_silent(now)
    return Step(replace(alert, resolved_at=now), EventKind.RESOLVED, tell=tell)


def _earlier(kept: datetime | None, now: datetime) -> datetime:
    return now if kept is None else min(kept, now)
