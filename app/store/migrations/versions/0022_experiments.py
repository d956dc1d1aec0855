"""Experiments: what is asked of whom, and what each cell came to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("design", sa.Text(), nullable=False),
        sa.Column("design_sha256", sa.String(length=64), nullable=False),
        sa.Column("prompts", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
    )
    op.create_index(op.f("ix_experiments_created_at"), "experiments", ["created_at"])
    op.create_index(op.f("ix_experiments_design_sha256"), "experiments", ["design_sha256"])
    op.create_table(
        "experiment_cells",
        sa.Column("experiment_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("configuration", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=False),
        sa.Column("repeat", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        sa.Column("same_text", sa.Boolean(), nullable=True),
        sa.Column("word_f1", sa.Float(precision=53), nullable=True),
        sa.Column("answer_sha256", sa.String(length=64), nullable=True),
        sa.Column("disturbed", sa.Boolean(), nullable=True),
        sa.Column("e2e_s", sa.Float(precision=53), nullable=True),
        sa.Column("ttft_s", sa.Float(precision=53), nullable=True),
        sa.Column("tpot_s", sa.Float(precision=53), nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("weights_bytes", sa.BigInteger(), nullable=True),
        sa.Column("kv_bytes", sa.BigInteger(), nullable=True),
        sa.Column("peak_rss_bytes", sa.BigInteger(), nullable=True),
        sa.Column("mean_batch_size", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_experiment_cells_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_experiment_cells_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint(
            "experiment_id", "kind", "configuration", "prompt_id", "repeat", name=op.f("pk_experiment_cells")
        ),
    )
    op.create_index(op.f("ix_experiment_cells_run_id"), "experiment_cells", ["run_id"])


def downgrade() -> None:
    op.drop_table("experiment_cells")
    op.drop_table("experiments")
