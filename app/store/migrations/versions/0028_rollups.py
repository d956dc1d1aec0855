"""What was summed up of the runs, a quarter of an hour at a time. The sums are made once the server runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_WIDTH_US = 15 * 60 * 1_000_000
_COUNTED = (
    "runs", "finished", "stopped", "failed", "interrupted", "running", "disturbed", "prompt_tokens", "cached_tokens",
    "completion_tokens", "drafted_tokens", "accepted_tokens", "discarded_tokens",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "run_buckets",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("summed_at_changes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_run_buckets")),
    )
    op.create_table(
        "run_rollups",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("config_hash", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("model", "backend", "precision")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in ("weights_bytes", "kv_bytes", "peak_rss_bytes")),
        sa.Column("histograms", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "config_hash", "source", "user", name=op.f("pk_run_rollups")),
    )
    runs = sa.table("runs", sa.column("created_at", sa.BigInteger()))
    started = sa.select(runs.c.created_at.op("/")(sa.literal_column(str(_WIDTH_US))), sa.literal_column("1"))
    buckets = sa.table("run_buckets", sa.column("bucket"), sa.column("changes"))
    op.execute(buckets.insert().from_select(["bucket", "changes"], started.distinct()))
    op.create_index(op.f("ix_runs_source_created_at"), "runs", ["source", "created_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_runs_source_created_at"), table_name="runs")
    op.drop_table("run_rollups")
    op.drop_table("run_buckets")
