"""What a router profile is judged by elsewhere: its prompts' hashes, its figures with intervals, the machine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("router_profiles", sa.Column("evidence", sa.Text(), nullable=True))
    op.add_column("router_profiles", sa.Column("data_set", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("router_profiles", "data_set")
    op.drop_column("router_profiles", "evidence")
