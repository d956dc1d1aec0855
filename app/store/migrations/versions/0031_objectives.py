"""Service level objectives: what share of the requests is to meet which limit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "objectives",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("metric", sa.String(length=16), nullable=False),
        sa.Column("limit_s", sa.Float(precision=53), nullable=True),
        sa.Column("target", sa.Float(precision=53), nullable=False),
        sa.Column("window_days", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=True),
        sa.Column("config_hash", sa.String(length=16), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objectives")),
    )


def downgrade() -> None:
    op.drop_table("objectives")
