"""What a run says of speculative decoding, and what reading its answer again showed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("verification_steps", sa.BigInteger(), nullable=True))
    op.add_column("run_contents", sa.Column("speculation", sa.Text(), nullable=True))
    op.add_column("run_contents", sa.Column("losslessness", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("run_contents", "losslessness")
    op.drop_column("run_contents", "speculation")
    op.drop_column("runs", "verification_steps")
