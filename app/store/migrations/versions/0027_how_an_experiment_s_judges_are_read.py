"""How an experiment's judges are read: whose verdicts count, and beyond which limits a judge fails its audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("judging", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("experiments", "judging")
