"""Autopilots: what each was asked for, and which experiments are its heats."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "autopilots",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_autopilots")),
    )
    op.create_index(op.f("ix_autopilots_created_at"), "autopilots", ["created_at"])
    op.create_table(
        "autopilot_heats",
        sa.Column("experiment_id", sa.String(length=32), nullable=False),
        sa.Column("autopilot_id", sa.String(length=32), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["autopilot_id"],
            ["autopilots.id"],
            name=op.f("fk_autopilot_heats_autopilot_id_autopilots"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_autopilot_heats_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_autopilot_heats")),
    )
    op.create_index(op.f("ix_autopilot_heats_autopilot_id"), "autopilot_heats", ["autopilot_id"])


def downgrade() -> None:
    op.drop_table("autopilot_heats")
    op.drop_table("autopilots")
