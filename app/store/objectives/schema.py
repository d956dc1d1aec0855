"""The table of service level objectives."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText


class ObjectiveRow(Base):
    """A share of requests that is to meet a limit over a window."""

    __tablename__ = "objectives"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    metric: Mapped[str] = mapped_column(CleanText(16))
    limit_s: Mapped[float | None]
    """Of a latency, in seconds; null of errors and quality."""
    target: Mapped[float]
    """The share that is to meet it, 0 to 1."""
    window_days: Mapped[int]
    model: Mapped[str | None]
    source: Mapped[str | None] = mapped_column(CleanText(16))
    config_hash: Mapped[str | None] = mapped_column(CleanText(16))
    created_at: Mapped[datetime]
