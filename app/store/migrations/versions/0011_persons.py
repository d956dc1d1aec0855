"""Whose runs, conversations and texts are, and how each person has set the widgets.

What is stored already has no owner: it belongs to the desk. Runs keep the session that they were asked in.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("person_id", sa.String(length=32), nullable=True))
    op.create_index("ix_runs_person_id_created_at", "runs", ["person_id", "created_at"])
    op.add_column("conversations", sa.Column("person_id", sa.String(length=32), nullable=True))
    op.create_index("ix_conversations_person_id_updated_at", "conversations", ["person_id", "updated_at"])
    op.create_table(
        "person_settings",
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person_settings")),
    )
    op.create_index("ix_person_settings_changed_at", "person_settings", ["changed_at"])
    op.create_table(
        "text_owners",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "person_id", name=op.f("pk_text_owners")),
    )


def downgrade() -> None:
    op.drop_table("text_owners")
    op.drop_table("person_settings")
    op.drop_index("ix_conversations_person_id_updated_at", "conversations")
    op.drop_column("conversations", "person_id")
    op.drop_index("ix_runs_person_id_created_at", "runs")
    op.drop_column("runs", "person_id")
