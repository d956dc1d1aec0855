"""Which server does what only one is to do, and which runs have a note."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

_NOTED = sa.text("note <> ''")


def upgrade() -> None:
    op.create_table(
        "upkeep_turns",
        sa.Column("task", sa.String(length=64), nullable=False),
        sa.Column("owner_host", sa.String(), nullable=False),
        sa.Column("owner_pid", sa.BigInteger(), nullable=False),
        sa.Column("owner_started", sa.Float(precision=53), nullable=False),
        sa.Column("owner_lock", sa.String(), nullable=True),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_upkeep_turns")),
    )
    op.create_index("ix_runs_noted", "runs", ["id"], sqlite_where=_NOTED, postgresql_where=_NOTED)


def downgrade() -> None:
    op.drop_index("ix_runs_noted", table_name="runs")
    op.drop_table("upkeep_turns")
