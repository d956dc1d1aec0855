"""The tables of what was summed up of the runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base


class RunBucket(Base):
    """A quarter of an hour in which runs were started."""

    __tablename__ = "run_buckets"

    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Quarters of an hour since 1970 UTC: the offset of every time zone in use is a whole number of them."""
    changes: Mapped[int]
    """How often a run of it was begun, ended or deleted, until some were pruned."""
    pruned_at: Mapped[datetime | None]
    """When runs of it were pruned last: its sums stay as they are from then on. Null where none were."""


class RunRollup(Base):
    """The sums over the runs of a quarter of an hour, an hour or a day."""

    __tablename__ = "run_rollups"

    width: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """In quarters of an hour: one of `app.store.runs.rollups.buckets.WIDTHS`."""
    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Its number since 1970 UTC, in stretches of this width."""
    changes: Mapped[int]
    """Of all its quarters of an hour together, when it was summed up. Where they have more now, the sums are of the
    past."""
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    """See `app.store.runs.rollups.packing`."""
