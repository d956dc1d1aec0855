"""With how many others a run shared its passes: its times are then not its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("mean_batch_size", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("runs", "mean_batch_size")
