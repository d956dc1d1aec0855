"""Which file a run's server holds, which runs were deleted, and which measurement a speed belongs to.

Speeds kept so far stay, each as a measurement of its own, also those that two servers stored of one job: nobody can
tell these from a measurement that was repeated on purpose.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("owner_lock", sa.String(), nullable=True))
    op.create_table(
        "deleted_runs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_runs")),
    )
    op.add_column("lab_speeds", sa.Column("measurement", sa.String(length=32), nullable=True))
    op.execute("UPDATE lab_speeds SET measurement = id")
    op.create_index(
        "uq_lab_speeds_measurement", "lab_speeds", ["weights_sha256", "precision", "measurement"], unique=True
    )


def downgrade() -> None:
    op.drop_index("uq_lab_speeds_measurement", "lab_speeds")
    op.drop_column("lab_speeds", "measurement")
    op.drop_table("deleted_runs")
    op.drop_column("runs", "owner_lock")
