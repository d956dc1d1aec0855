"""What a caller of the API says of a run: the user it is for, and their own notes on it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("user", sa.String(), nullable=True))
    op.add_column("run_contents", sa.Column("caller_metadata", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run_contents", "caller_metadata")
    op.drop_column("runs", "user")
