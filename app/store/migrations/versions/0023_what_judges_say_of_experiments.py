"""What a judge says of an experiment's answers, one at a time or two at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "experiment_judgements",
        sa.Column("experiment_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=False),
        sa.Column("first_sha256", sa.String(length=64), nullable=False),
        sa.Column("second_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("no_verdict", sa.String(length=16), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_experiment_judgements_experiment_id_experiments"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "experiment_id",
            "name",
            "weights_sha256",
            "version",
            "kind",
            "prompt_id",
            "first_sha256",
            "second_sha256",
            name=op.f("pk_experiment_judgements"),
        ),
    )


def downgrade() -> None:
    op.drop_table("experiment_judgements")
