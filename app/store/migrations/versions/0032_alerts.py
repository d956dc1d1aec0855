"""Alerts: rules, what fires, whom it is sent to, and which server looks after it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def _moments(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _scope() -> list[sa.Column[str]]:
    return [
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=True),
        sa.Column("config_hash", sa.String(length=16), nullable=True),
    ]


def _id(name: str = "id", *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=32), nullable=nullable)


def _key(table: str, column: str = "id") -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(column, name=op.f(f"pk_{table}"))


def upgrade() -> None:
    op.create_table(
        "alert_rules",
        sa.Column("key", sa.String(length=64), nullable=False),
        *_texts("name"),
        sa.Column("figure", sa.String(length=16), nullable=False),
        sa.Column("condition", sa.String(length=16), nullable=False),
        sa.Column("limit", sa.Float(precision=53), nullable=False),
        *_moments("window_s", "reference_s", "least"),
        sa.Column("percentile", sa.Float(precision=53), nullable=False),
        *_scope(),
        *_texts("runbook"),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        *_moments("created_at"),
        _key("alert_rules", "key"),
    )
    op.create_table(
        "alerts",
        _id(),
        sa.Column("rule", sa.String(length=64), nullable=False),
        _id("subject"),
        sa.Column("slot", sa.String(length=128), nullable=True),
        *_texts("title", "words"),
        sa.Column("gear", sa.String(length=16), nullable=False),
        *_texts("runbook"),
        *_scope(),
        *_moments("runs_since", "runs_until", "opened_at"),
        sa.Column("told", sa.Boolean(), nullable=False),
        *_moments("clear_since", "unknown_since", "acknowledged_at", "silenced_until", "resolved_at", nullable=True),
        _key("alerts"),
        sa.UniqueConstraint("slot", name=op.f("uq_alerts_slot")),
    )
    op.create_index(op.f("ix_alerts_opened_at"), "alerts", ["opened_at"])
    op.create_index(op.f("ix_alerts_rule_subject_opened_at"), "alerts", ["rule", "subject", "opened_at"])
    op.create_table(
        "alert_events",
        _id(),
        _id("alert_id"),
        *_moments("at"),
        sa.Column("what", sa.String(length=16), nullable=False),
        _id("person", nullable=True),
        *_texts("words"),
        _key("alert_events"),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], ondelete="CASCADE", name=op.f("fk_alert_events_alert_id_alerts")
        ),
    )
    op.create_index(op.f("ix_alert_events_alert_id"), "alert_events", ["alert_id"])
    op.create_table(
        "alert_channels",
        _id(),
        *_texts("name", "service", "url"),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        *_moments("created_at"),
        _key("alert_channels"),
    )
    op.create_table(
        "alert_deliveries",
        _id(),
        _id("channel_id"),
        _id("event_id", nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        *_moments("tries", "created_at", "due_at"),
        *_moments("tried_at", nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        _key("alert_deliveries"),
        sa.ForeignKeyConstraint(
            ["channel_id"],
            ["alert_channels.id"],
            ondelete="CASCADE",
            name=op.f("fk_alert_deliveries_channel_id_alert_channels"),
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["alert_events.id"],
            ondelete="CASCADE",
            name=op.f("fk_alert_deliveries_event_id_alert_events"),
        ),
    )
    op.create_index("uq_alert_deliveries_event_channel", "alert_deliveries", ["event_id", "channel_id"], unique=True)
    op.create_index(op.f("ix_alert_deliveries_state_due_at"), "alert_deliveries", ["state", "due_at"])
    op.create_index(op.f("ix_alert_deliveries_channel_id_created_at"), "alert_deliveries", ["channel_id", "created_at"])


def downgrade() -> None:
    for table in ("alert_deliveries", "alert_channels", "alert_events", "alerts", "alert_rules"):
        op.drop_table(table)
