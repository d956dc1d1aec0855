"""By which router profile a cascade was answered, so that a profile's runs are found whatever else was asked."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_runs = sa.table("runs", sa.column("id"), sa.column("router_profile"))
_contents = sa.table("run_contents", sa.column("run_id"), sa.column("config"))


def upgrade() -> None:
    op.add_column("runs", sa.Column("router_profile", sa.String(length=16), nullable=True))
    op.create_index("ix_runs_router_profile_created_at", "runs", ["router_profile", "created_at"])
    if op.get_context().as_sql:  # written out for somebody to run: there are no rows to look at
        return
    session = op.get_bind()
    config = sa.cast(_contents.c.config, sa.Text)
    of_cascades = sa.select(_contents.c.run_id, config).where(config.contains('"boundaries'))
    for run_id, text in session.execute(of_cascades).all():
        cascade = (json.loads(text).get("optimization") or {}).get("cascade") or {}
        if profile := cascade.get("profile"):
            key = hashlib.sha256(profile.encode()).hexdigest()[:16]
            session.execute(sa.update(_runs).where(_runs.c.id == run_id).values(router_profile=key))


def downgrade() -> None:
    op.drop_index("ix_runs_router_profile_created_at", "runs")
    op.drop_column("runs", "router_profile")
