"""Who recorded an answer, since when answers of a tier count, and what people say of single answers.

Of answers that are stored already nobody knows who recorded them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("router_answers", sa.Column("person_id", sa.String(length=32), nullable=True))
    op.create_index("ix_router_answers_tier_created_at", "router_answers", ["tier", "created_at"])
    op.create_table(
        "router_renewals",
        sa.Column("set_sha256", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_sha256"], ["router_sets.sha256"], name=op.f("fk_router_renewals_set_sha256_router_sets")
        ),
        sa.PrimaryKeyConstraint("set_sha256", "tier", "weights_sha256", name=op.f("pk_router_renewals")),
    )
    op.create_table(
        "router_marks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("set_id", sa.String(), nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("answer_sha256", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("right", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_router_marks")),
    )
    op.create_index("ix_router_marks_set_id", "router_marks", ["set_id"])


def downgrade() -> None:
    op.drop_table("router_marks")
    op.drop_table("router_renewals")
    op.drop_index("ix_router_answers_tier_created_at", "router_answers")
    op.drop_column("router_answers", "person_id")
