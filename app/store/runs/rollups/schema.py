"""The tables of what was summed up of the runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText


class RunBucket(Base):
    """A quarter of an hour in which runs were started, and whether what was summed up of it holds."""

    __tablename__ = "run_buckets"

    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Quarters of an hour since 1970 UTC: the offset of every time zone in use is a whole number of them."""
    changes: Mapped[int]
    """How often a run of it was begun, ended or deleted."""
    summed_at_changes: Mapped[int | None]
    """``changes`` as its runs were summed up; null until then. Where they differ, the sums are of the past."""
    pruned_at: Mapped[datetime | None]
    """When runs of it were pruned last: its sums stay as they are from then on. Null where none were."""


class RunRollup(Base):
    """The sums over a bucket's runs of one configuration, source and user."""

    __tablename__ = "run_rollups"

    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    config_hash: Mapped[str] = mapped_column(CleanText(16), primary_key=True)
    source: Mapped[str] = mapped_column(CleanText(16), primary_key=True)
    """Empty where nobody knows."""
    user: Mapped[str] = mapped_column(primary_key=True)
    """Empty outside the API."""
    model: Mapped[str]
    backend: Mapped[str]
    precision: Mapped[str]

    runs: Mapped[int]
    finished: Mapped[int]
    stopped: Mapped[int]
    failed: Mapped[int]
    interrupted: Mapped[int]
    running: Mapped[int]
    disturbed: Mapped[int]
    """Of the finished ones."""
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    drafted_tokens: Mapped[int]
    accepted_tokens: Mapped[int]
    discarded_tokens: Mapped[int]
    weights_bytes: Mapped[int | None]
    """The greatest, like the two below; null where none was measured."""
    kv_bytes: Mapped[int | None]
    peak_rss_bytes: Mapped[int | None]
    histograms: Mapped[bytes] = mapped_column(LargeBinary)
    """Of finished runs' times; see `app.store.runs.rollups.sums`."""
