"""Sets of prompts, what each tier answered to them, and router profiles."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "router_sets",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_router_sets")),
    )
    op.create_table(
        "router_answers",
        sa.Column("set_sha256", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_sha256"], ["router_sets.sha256"], name=op.f("fk_router_answers_set_sha256_router_sets")
        ),
        sa.PrimaryKeyConstraint("set_sha256", "tier", "weights_sha256", "prompt_id", name=op.f("pk_router_answers")),
    )
    op.create_table(
        "router_profiles",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("ladder", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("activated_at", sa.BigInteger(), nullable=True),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_router_profiles")),
    )
    op.create_index("uq_router_profiles_name_version", "router_profiles", ["name", "version"], unique=True)
    op.create_index("ix_router_profiles_ladder", "router_profiles", ["ladder", "activated_at"])


def downgrade() -> None:
    op.drop_table("router_profiles")
    op.drop_table("router_answers")
    op.drop_table("router_sets")
