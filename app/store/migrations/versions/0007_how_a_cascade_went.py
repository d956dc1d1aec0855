"""Which tier of a cascade answered a run, and what smaller ones had written before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("discarded_tokens", sa.BigInteger(), nullable=True))
    op.add_column("run_contents", sa.Column("cascade", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run_contents", "cascade")
    op.drop_column("runs", "discarded_tokens")
