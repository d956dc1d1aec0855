"""What a cascade saved against its largest model alone. Of runs kept so far nobody knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("large_alone_s", sa.Float(53), nullable=True))
    op.add_column("runs", sa.Column("large_alone_derived", sa.Boolean(), nullable=True))
    op.add_column("runs", sa.Column("cascade_saved_s", sa.Float(53), nullable=True))


def downgrade() -> None:
    for name in ("cascade_saved_s", "large_alone_derived", "large_alone_s"):
        op.drop_column("runs", name)
