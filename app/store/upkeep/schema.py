"""The table of turns."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText


class UpkeepTurn(Base):
    """Which process does what only one of those on a database is to do."""

    __tablename__ = "upkeep_turns"

    task: Mapped[str] = mapped_column(CleanText(64), primary_key=True)
    owner_host: Mapped[str]
    owner_pid: Mapped[int]
    owner_started: Mapped[float]
    owner_lock: Mapped[str | None]
    seen_at: Mapped[datetime]
    """When the owner last did it; the four before it are as a run's."""
