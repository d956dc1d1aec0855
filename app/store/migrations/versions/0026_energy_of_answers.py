"""The energy that the machine counted while a cell was answered alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiment_cells", sa.Column("energy_j", sa.Float(precision=53), nullable=True))
    op.add_column("experiment_cells", sa.Column("energy_by", sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column("experiment_cells", "energy_by")
    op.drop_column("experiment_cells", "energy_j")
