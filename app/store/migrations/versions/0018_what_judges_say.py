"""What a model says as judge of answers: of those that tiers were recorded with, and of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _said() -> list[sa.Column[object]]:
    return [
        sa.Column("judge", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
    ]


def upgrade() -> None:
    op.create_table(
        "router_verdicts",
        sa.Column("set_sha256", sa.String(length=64), nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("answer_sha256", sa.String(length=64), nullable=False),
        *_said(),
        sa.ForeignKeyConstraint(
            ["set_sha256"], ["router_sets.sha256"], name=op.f("fk_router_verdicts_set_sha256_router_sets")
        ),
        sa.PrimaryKeyConstraint(
            "set_sha256", "prompt_id", "tier", "answer_sha256", "judge", name=op.f("pk_router_verdicts")
        ),
    )
    op.create_table(
        "router_judgements",
        sa.Column("run_id", sa.String(length=32), nullable=False),
        *_said(),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_router_judgements_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "judge", name=op.f("pk_router_judgements")),
    )


def downgrade() -> None:
    op.drop_table("router_judgements")
    op.drop_table("router_verdicts")
