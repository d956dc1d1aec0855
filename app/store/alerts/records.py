"""What the alerts' side of the store hands out. Durations are timedeltas; moments are aware UTC datetimes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from app.store.objectives.records import ALL_TRAFFIC, Scope
from app.store.runs.records import RunFilter


class Figure(StrEnum):
    """What a rule watches."""

    BURN = "burn"
    """How fast each objective's error budget goes: 1 uses it up just at the end of its window."""
    ERRORS = "errors"
    TTFT = "ttft"
    TPOT = "tpot"
    E2E = "e2e"
    QUALITY = "quality"
    HIT_RATE = "hit-rate"
    ACCEPTANCE = "acceptance"
    ESCALATIONS = "escalations"
    REPETITION = "repetition"
    DEGRADED = "degraded"
    STALE = "stale"
    DISK = "disk"


class Condition(StrEnum):
    """How a figure must stand for a rule to fire."""

    ABOVE = "above"
    BELOW = "below"
    RISES = "rises"
    FALLS = "falls"
    DRIFTS = "drifts"
    """Either of the two."""

    @property
    def is_change(self) -> bool:
        """Whether it asks what the figure was before."""
        return self in (Condition.RISES, Condition.FALLS, Condition.DRIFTS)


class Gear(StrEnum):
    """Where to look first."""

    PRECISION = "precision"
    CASCADE = "cascade"
    KV_CACHE = "KV cache"
    SPECULATION = "speculation"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When somebody is to be told."""

    key: str
    name: str
    figure: Figure
    condition: Condition
    limit: float
    """Of shares 0 to 1, of times seconds, of burn rates times the sustainable one; of a change, a share of what the
    figure was."""
    window: timedelta
    """How far back the figure is taken."""
    reference: timedelta = timedelta(0)
    """Of a change, how long a time before the window it is compared with; of a burn rate, the short window that must
    burn as well, so that an alert ends soon after its cause (Google, The Site Reliability Workbook, chapter 5)."""
    least: int = 1
    """Runs below which nothing is said."""
    percentile: float = 0.95
    """Of a latency."""
    scope: Scope = ALL_TRAFFIC
    runbook: str
    is_on: bool = True


class AlertState(StrEnum):
    """Where an alert stands."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has taken it up."""
    SILENCED = "silenced"
    """Nobody is told for a while."""
    RESOLVED = "resolved"


class EventKind(StrEnum):
    """What happens to an alert."""

    FIRED = "fired"
    ACKNOWLEDGED = "acknowledged"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What looking at a rule found."""

    rule: str
    subject: str = ""
    """Id of the objective, of a rule about objectives."""
    holds: bool | None
    """Whether its condition does; ``None`` where too few runs can tell."""
    title: str
    words: str
    """What was found, with its figures."""
    gear: Gear
    runbook: str
    scope: Scope = ALL_TRAFFIC
    since: datetime
    until: datetime
    """The stretch of time of the runs that it was found in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One time that a rule's condition held."""

    id: str
    rule: str
    subject: str
    title: str
    words: str
    gear: Gear
    runbook: str
    scope: Scope
    runs_since: datetime
    runs_until: datetime
    opened_at: datetime
    told: bool = False
    """Whether the channels were told that it fires."""
    clear_since: datetime | None = None
    unknown_since: datetime | None = None
    acknowledged_at: datetime | None = None
    silenced_until: datetime | None = None
    resolved_at: datetime | None = None

    def state(self, now: datetime) -> AlertState:
        """Where it stands at a moment."""
        if self.resolved_at is not None:
            return AlertState.RESOLVED
        if self.is_silent(now):
            return AlertState.SILENCED
        return AlertState.FIRING if self.acknowledged_at is None else AlertState.ACKNOWLEDGED

    def is_silent(self, now: datetime) -> bool:
        """Whether nobody is to be told at a moment."""
        return self.silenced_until is not None and now < self.silenced_until

    @property
    def runs(self) -> RunFilter:
        """Those that it was found in."""
        return self.scope.runs(self.runs_since, self.runs_until)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """What happened to an alert."""

    id: str
    alert_id: str
    at: datetime
    what: EventKind
    person: str | None
    words: str
    """What was found, of one that fires; of one that is resolved, why, unless it no longer holds."""


class DeliveryState(StrEnum):
    """How a message stands."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where alerts are sent to."""

    id: str
    name: str
    service: str
    """What may be shown of its address."""
    is_on: bool
    is_sealed: bool
    """Whether its address is kept encrypted."""
    trouble: str | None = None
    """Why its address cannot be read, for the user; ``None`` if it can."""
    created_at: datetime
    last: Delivery | None = None
    """The latest message to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message to a channel."""

    id: str
    channel_id: str
    event_id: str | None
    """``None`` of a test."""
    state: DeliveryState
    tries: int
    created_at: datetime
    due_at: datetime
    tried_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A message that is to be sent now."""

    delivery: Delivery
    url: str = field(repr=False)
    """A secret."""
    alert: Alert | None
    """``None`` of a test."""
    event: AlertEvent | None
