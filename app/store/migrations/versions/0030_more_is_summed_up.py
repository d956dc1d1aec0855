"""What is counted stands in the runs' own rows; hours and days are summed up beside quarters of an hour, anew."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_RUNS = sa.table(
    "runs",
    *(sa.column(name) for name in ("id", "config_hash", "status", "source", "user", "error_kind", "key_name", "tier")),
)
_CONTENTS = sa.table("run_contents", *(sa.column(name) for name in ("run_id", "config", "cascade", "error_kind")))
_KEYS = sa.table("api_keys", sa.column("name"))
_ROWS_AT_ONCE = 500
_COUNTED = (
    "runs", "finished", "stopped", "failed", "interrupted", "running", "disturbed", "prompt_tokens", "cached_tokens",
    "completion_tokens", "drafted_tokens", "accepted_tokens", "discarded_tokens",
)  # fmt: skip
"""Of the sums as they were."""


def upgrade() -> None:
    for name in ("key_name", "error_kind", "tier"):
        op.add_column("runs", sa.Column(name, sa.String(), nullable=True))
    op.add_column("runs", sa.Column("speculation_saved_s", sa.Float(precision=53), nullable=True))
    op.create_index(op.f("ix_runs_e2e_s"), "runs", ["e2e_s"])
    runs, contents = _RUNS.c, _CONTENTS.c
    kind = sa.select(contents.error_kind).where(contents.run_id == runs.id).scalar_subquery()
    op.execute(sa.update(_RUNS).where(runs.status == "failed").values(error_kind=kind))
    by_key = sa.and_(runs.source == "api", runs.user.in_(sa.select(_KEYS.c.name)))
    op.execute(sa.update(_RUNS).where(by_key).values(key_name=runs.user))
    _keep_tiers()
    op.drop_table("run_rollups")
    op.drop_column("run_buckets", "summed_at_changes")
    op.create_table(
        "run_rollups",
        sa.Column("width", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("width", "bucket", name=op.f("pk_run_rollups")),
    )


def _keep_tiers() -> None:
    """Who answered, of the cascades' runs: only their configurations are gone through."""
    connection = op.get_bind()
    if op.get_context().as_sql:
        return
    runs, contents = _RUNS.c, _CONTENTS.c
    hashes = connection.execute(sa.select(runs.config_hash).distinct()).scalars().all()
    for config_hash in hashes:
        of_one = sa.select(contents.config).join(_RUNS, runs.id == contents.run_id)
        config = connection.execute(of_one.where(runs.config_hash == config_hash).limit(1)).scalar()
        if not config or not json.loads(config).get("optimization", {}).get("cascade"):
            continue
        reports = sa.select(contents.run_id, contents.cascade).join(_RUNS, runs.id == contents.run_id)
        reports = reports.where(runs.config_hash == config_hash, contents.cascade.is_not(None))
        changed = sa.update(_RUNS).where(runs.id == sa.bindparam("of_run")).values(tier=sa.bindparam("by"))
        last = ""
        while rows := connection.execute(
            reports.where(contents.run_id > last).order_by(contents.run_id).limit(_ROWS_AT_ONCE)
        ).all():
            answered = [
                {"of_run": run_id, "by": tier} for run_id, report in rows if (tier := _tier(json.loads(report)))
            ]
            if answered:
                connection.execute(changed, answered)
            last = rows[-1].run_id


def _tier(report: Any) -> str | None:
    return str(report["attempts"][-1]["tier"]) if report and report["attempts"] else None


def downgrade() -> None:
    op.drop_table("run_rollups")
    op.create_table(
        "run_rollups",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("config_hash", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("model", "backend", "precision")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in ("weights_bytes", "kv_bytes", "peak_rss_bytes")),
        sa.Column("histograms", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "config_hash", "source", "user", name=op.f("pk_run_rollups")),
    )
    op.add_column("run_buckets", sa.Column("summed_at_changes", sa.BigInteger(), nullable=True))
    op.drop_index(op.f("ix_runs_e2e_s"), table_name="runs")
    for name in ("speculation_saved_s", "tier", "error_kind", "key_name"):
        op.drop_column("runs", name)
