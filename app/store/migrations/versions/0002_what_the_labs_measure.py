"""What the labs measure: corpora, divergence window by window, speeds, task answers, the alarm's limits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lab_corpora",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_lab_corpora")),
    )
    op.create_table(
        "lab_answers",
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("corpus_sha256", sa.String(length=64), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("weights_sha256", "corpus_sha256", "place", name=op.f("pk_lab_answers")),
    )
    op.create_table(
        "lab_corpus_results",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("corpus_sha256", sa.String(length=64), nullable=False),
        sa.Column("windows", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["corpus_sha256"], ["lab_corpora.sha256"], name=op.f("fk_lab_corpus_results_corpus_sha256_lab_corpora")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_corpus_results")),
    )
    op.create_index(
        "ix_lab_corpus_results_identity", "lab_corpus_results", ["weights_sha256", "precision", "corpus_sha256"]
    )
    op.create_table(
        "lab_corpus_windows",
        sa.Column("result_id", sa.String(length=32), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result_id"],
            ["lab_corpus_results.id"],
            name=op.f("fk_lab_corpus_windows_result_id_lab_corpus_results"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("result_id", "place", name=op.f("pk_lab_corpus_windows")),
    )
    op.create_table(
        "lab_speeds",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tokens_per_second", sa.Float(precision=53), nullable=False),
        sa.Column("ttft_s", sa.Float(precision=53), nullable=False),
        sa.Column("weights_bytes", sa.BigInteger(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_speeds")),
    )
    op.create_index("ix_lab_speeds_identity", "lab_speeds", ["weights_sha256", "precision"])
    op.create_table(
        "lab_task_results",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("tasks_sha256", sa.String(length=64), nullable=False),
        sa.Column("tasks", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lab_task_results")),
    )
    op.create_index("ix_lab_task_results_identity", "lab_task_results", ["weights_sha256", "precision", "tasks_sha256"])
    op.create_table(
        "lab_task_answers",
        sa.Column("result_id", sa.String(length=32), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result_id"],
            ["lab_task_results.id"],
            name=op.f("fk_lab_task_answers_result_id_lab_task_results"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("result_id", "task_id", name=op.f("pk_lab_task_answers")),
    )
    op.create_table(
        "lab_limits",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lab_limits")),
    )


def downgrade() -> None:
    for table in (
        "lab_limits",
        "lab_task_answers",
        "lab_task_results",
        "lab_speeds",
        "lab_corpus_windows",
        "lab_corpus_results",
        "lab_answers",
        "lab_corpora",
    ):
        op.drop_table(table)
