"""Where each run was asked for.

Of runs stored already it is told where that can be: the answers of conversations are linked to their messages, races
of the Playground have random ids (UUID version 4) as their groups, and only labs kept runs without a group. What is
left, such as the runs of conversations that were deleted, stays unknown.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_runs = sa.table("runs", sa.column("id"), sa.column("group_id"), sa.column("source"))
_messages = sa.table("conversation_messages", sa.column("id"), sa.column("run_id"))
_RACE = "_" * 12 + "4" + "_" * 19
"""32 hex digits, of which the thirteenth is the version."""


def upgrade() -> None:
    op.add_column("runs", sa.Column("source", sa.String(length=16), nullable=True))
    answers = sa.select(_messages.c.run_id).where(_messages.c.run_id.is_not(None))
    of_chat = sa.or_(_runs.c.id.in_(answers), _runs.c.group_id.in_(sa.select(_messages.c.id)))
    for source, told in (
        ("chat", of_chat),
        ("playground", _runs.c.group_id.like(_RACE)),
        ("lab", _runs.c.group_id.is_(None)),
    ):
        op.execute(sa.update(_runs).where(_runs.c.source.is_(None), told).values(source=source))


def downgrade() -> None:
    op.drop_column("runs", "source")
