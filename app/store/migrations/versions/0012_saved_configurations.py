"""Configurations that people saved under a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "saved_configurations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("person", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("warm", sa.Boolean(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_configurations")),
    )
    op.create_index("uq_saved_configurations_person_name", "saved_configurations", ["person", "name"], unique=True)


def downgrade() -> None:
    op.drop_table("saved_configurations")
