"""Who goes on with an experiment or an autopilot, one process at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment_leases",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("started_from", sa.String(length=16), nullable=False),
        sa.Column("owner_host", sa.String(), nullable=False),
        sa.Column("owner_pid", sa.BigInteger(), nullable=False),
        sa.Column("owner_started", sa.Float(precision=53), nullable=False),
        sa.Column("owner_lock", sa.String(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiment_leases")),
    )


def downgrade() -> None:
    op.drop_table("experiment_leases")
