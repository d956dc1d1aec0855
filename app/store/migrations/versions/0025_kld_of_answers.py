"""How far a cell's configuration is from the 16-bit baseline, along the baseline's answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiment_cells", sa.Column("kld", sa.Float(precision=53), nullable=True))
    op.add_column("experiment_cells", sa.Column("kld_tokens", sa.BigInteger(), nullable=True))
    op.add_column("experiment_cells", sa.Column("no_kld", sa.String(), nullable=True))


def downgrade() -> None:
    for column in ("no_kld", "kld_tokens", "kld"):
        op.drop_column("experiment_cells", column)
