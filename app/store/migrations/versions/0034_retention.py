"""How long runs are kept, and of which quarters of an hour some were pruned."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("keep_days", sa.BigInteger(), nullable=True),
        sa.Column("keep_runs", sa.BigInteger(), nullable=True),
        sa.Column("pruned_runs", sa.BigInteger(), nullable=False),
        sa.Column("pruned_before", sa.BigInteger(), nullable=True),
        sa.Column("pruned_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention")),
    )
    op.add_column("run_buckets", sa.Column("pruned_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("run_buckets", "pruned_at")
    op.drop_table("retention")
