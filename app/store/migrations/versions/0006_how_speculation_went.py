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
    op.create_table(
        "lab_drafts",
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("config_hash", sa.String(length=16), nullable=False),
        sa.Column("prompt_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("speculation", sa.Text(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("weights_sha256", "config_hash", "prompt_sha256", name=op.f("pk_lab_drafts")),
    )


def downgrade() -> None:
    op.drop_table("lab_drafts")
    op.drop_column("run_contents", "losslessness")
    op.drop_column("run_contents", "speculation")
    op.drop_column("runs", "verification_steps")
