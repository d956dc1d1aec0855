"""What else used the machine while a run was answered. Of runs kept so far nobody knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("disturbed", sa.Boolean(), nullable=True))
    op.add_column("run_contents", sa.Column("disturbance", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run_contents", "disturbance")
    op.drop_column("runs", "disturbed")
