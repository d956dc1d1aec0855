"""The tables of alerts."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText

KEY = 64


class AlertRuleRow(Base):
    """A rule that somebody made, or one that comes with Gearbox as somebody changed it."""

    __tablename__ = "alert_rules"

    key: Mapped[str] = mapped_column(CleanText(KEY), primary_key=True)
    name: Mapped[str]
    figure: Mapped[str] = mapped_column(CleanText(16))
    condition: Mapped[str] = mapped_column(CleanText(16))
    limit: Mapped[float]
    window_s: Mapped[int]
    reference_s: Mapped[int]
    least: Mapped[int]
    percentile: Mapped[float]
    model: Mapped[str | None]
    source: Mapped[str | None] = mapped_column(CleanText(16))
    config_hash: Mapped[str | None] = mapped_column(CleanText(16))
    runbook: Mapped[str]
    is_on: Mapped[bool]
    created_at: Mapped[datetime]


class AlertRow(Base):
    """One time that a rule's condition held, from then until it no longer did."""

    __tablename__ = "alerts"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    rule: Mapped[str] = mapped_column(CleanText(KEY))
    subject: Mapped[str] = mapped_column(CleanText(32))
    """Id of the objective, of a rule about objectives; else empty."""
    slot: Mapped[str | None] = mapped_column(CleanText(128), unique=True)
    """Of rule and subject while it is open; null once it is resolved. One of each is open at a time."""
    title: Mapped[str]
    words: Mapped[str]
    gear: Mapped[str] = mapped_column(CleanText(16))
    runbook: Mapped[str]
    model: Mapped[str | None]
    source: Mapped[str | None] = mapped_column(CleanText(16))
    config_hash: Mapped[str | None] = mapped_column(CleanText(16))
    runs_since: Mapped[datetime]
    runs_until: Mapped[datetime]
    opened_at: Mapped[datetime]
    told: Mapped[bool]
    """Whether the channels were told that it fires."""
    clear_since: Mapped[datetime | None]
    """Since when its condition has not held."""
    unknown_since: Mapped[datetime | None]
    """Since when nobody can tell whether it holds."""
    acknowledged_at: Mapped[datetime | None]
    silenced_until: Mapped[datetime | None]
    resolved_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "rule", "subject", "opened_at"), Index(None, "opened_at"))


class AlertEventRow(Base):
    """What happened to an alert, in its order."""

    __tablename__ = "alert_events"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    alert_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(AlertRow.id, ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    what: Mapped[str] = mapped_column(CleanText(16))
    person: Mapped[str | None] = mapped_column(CleanText(32))
    """Who did it; null for Gearbox itself, and for the desk."""
    words: Mapped[str]


class AlertChannelRow(Base):
    """Where alerts are sent to."""

    __tablename__ = "alert_channels"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str]
    service: Mapped[str]
    """What may be shown of its address: the kind of service."""
    url: Mapped[str]
    """A secret."""
    is_on: Mapped[bool]
    created_at: Mapped[datetime]


class AlertDeliveryRow(Base):
    """A message on its way to a channel, or that came through, or did not."""

    __tablename__ = "alert_deliveries"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    channel_id: Mapped[str] = mapped_column(CleanText(32), ForeignKey(AlertChannelRow.id, ondelete="CASCADE"))
    event_id: Mapped[str | None] = mapped_column(CleanText(32), ForeignKey(AlertEventRow.id, ondelete="CASCADE"))
    """Null of a test."""
    state: Mapped[str] = mapped_column(CleanText(16))
    tries: Mapped[int]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """When it is tried next; of one that is being sent, when it is taken for lost."""
    tried_at: Mapped[datetime | None]
    error: Mapped[str | None]

    __table_args__ = (
        Index("uq_alert_deliveries_event_channel", "event_id", "channel_id", unique=True),
        Index(None, "state", "due_at"),
        Index(None, "channel_id", "created_at"),
    )
