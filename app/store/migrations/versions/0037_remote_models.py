"""Models that other servers run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "remote_models",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("served_name", sa.String(), nullable=False),
        sa.Column("metrics_url", sa.String(), nullable=True),
        sa.Column("sealed_key", sa.String(), nullable=True),
        sa.Column("has_key", sa.Boolean(), nullable=False),
        sa.Column("key_variable", sa.String(), nullable=True),
        *(
            sa.Column(name, sa.Float(precision=53), nullable=True)
            for name in ("input_price", "cached_price", "output_price")
        ),
        sa.Column("abilities", sa.Text(), nullable=True),
        sa.Column("tested_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remote_models")),
        sa.UniqueConstraint("name", name=op.f("uq_remote_models_name")),
    )


def downgrade() -> None:
    op.drop_table("remote_models")
