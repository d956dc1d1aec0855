"""Golden prompts, their answers, the rounds in which they were replayed, and what was chosen for all servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "options",
        sa.Column("subject", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_options")),
    )
    op.create_table(
        "golden_prompts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("completion", sa.String(), nullable=True),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("checker", sa.String(length=16), nullable=True),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("baseline_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_golden_prompts_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_prompts")),
    )
    op.create_index(op.f("ix_golden_prompts_run_id"), "golden_prompts", ["run_id"])
    op.create_table(
        "sentinel_rounds",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("golden_ids", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sentinel_rounds")),
    )
    op.create_index(op.f("ix_sentinel_rounds_created_at"), "sentinel_rounds", ["created_at"])
    op.create_table(
        "golden_answers",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("golden_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("round_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("fingerprint", "ttft_s", "tpot_s", "deviations")),
        sa.Column("disturbed", sa.BigInteger(), nullable=False),
        sa.Column("kld", sa.Float(precision=53), nullable=True),
        sa.Column("kld_tokens", sa.BigInteger(), nullable=True),
        sa.Column("no_kld", sa.String(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("against_id", sa.String(length=32), nullable=True),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("known_at", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["golden_id"],
            ["golden_prompts.id"],
            name=op.f("fk_golden_answers_golden_id_golden_prompts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["round_id"],
            ["sentinel_rounds.id"],
            name=op.f("fk_golden_answers_round_id_sentinel_rounds"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_golden_answers_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_answers")),
    )
    op.create_index(op.f("ix_golden_answers_golden_id_number"), "golden_answers", ["golden_id", "number"], unique=True)
    op.create_index(
        op.f("ix_golden_answers_golden_id_round_id"), "golden_answers", ["golden_id", "round_id"], unique=True
    )
    op.create_index(op.f("ix_golden_answers_round_id"), "golden_answers", ["round_id"])
    op.create_index(op.f("ix_golden_answers_run_id"), "golden_answers", ["run_id"])


def downgrade() -> None:
    for table in ("golden_answers", "sentinel_rounds", "golden_prompts", "options"):
        op.drop_table(table)
