"""The table of who goes on with what."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText


class Lease(Base):
    """The job that goes on with something; one whose owner is dead is over. Experiments were the first to have any."""

    __tablename__ = "experiment_leases"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    """Of what is gone on with."""
    started_from: Mapped[str] = mapped_column(CleanText(16))
    owner_host: Mapped[str]
    owner_pid: Mapped[int]
    owner_started: Mapped[float]
    owner_lock: Mapped[str | None]
    seen_at: Mapped[datetime]
    """When the owner last wrote; the four before it are as a run's."""
