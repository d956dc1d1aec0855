"""What a run says of repetition and of the prefix cache."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("repetition", sa.Float(precision=53), nullable=True))
    op.add_column("run_contents", sa.Column("cache", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run_contents", "cache")
    op.drop_column("runs", "repetition")
