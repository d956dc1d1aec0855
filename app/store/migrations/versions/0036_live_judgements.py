"""What judges say of live traffic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "live_judgements",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("run_created_at", sa.BigInteger(), nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("config_hash", sa.String(length=16), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("model", "precision", "tier")),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        sa.Column("no_verdict", sa.String(length=16), nullable=True),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_live_judgements_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_live_judgements")),
    )
    op.create_index(
        op.f("ix_live_judgements_run_id_name_weights_sha256_version"),
        "live_judgements",
        ["run_id", "name", "weights_sha256", "version"],
        unique=True,
    )
    op.create_index(op.f("ix_live_judgements_run_created_at"), "live_judgements", ["run_created_at"])
    op.create_table(
        "live_judgement_texts",
        sa.Column("judgement_id", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("reason", "detail")),
        sa.ForeignKeyConstraint(
            ["judgement_id"],
            ["live_judgements.id"],
            name=op.f("fk_live_judgement_texts_judgement_id_live_judgements"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_live_judgement_texts_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("judgement_id", name=op.f("pk_live_judgement_texts")),
    )
    op.create_index(op.f("ix_live_judgement_texts_run_id"), "live_judgement_texts", ["run_id"])
    op.create_table(
        "judging_charges",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judging_charges")),
    )
    op.create_index(op.f("ix_judging_charges_asked_at"), "judging_charges", ["asked_at"])


def downgrade() -> None:
    op.drop_table("judging_charges")
    op.drop_table("live_judgement_texts")
    op.drop_table("live_judgements")
