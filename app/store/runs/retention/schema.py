"""The table of the retention rule: one row, or none."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base


class Retention(Base):
    """How long runs are kept, as somebody set it, and what was pruned."""

    __tablename__ = "retention"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Always 1."""
    keep_days: Mapped[int | None]
    keep_runs: Mapped[int | None]
    pruned_runs: Mapped[int]
    pruned_before: Mapped[datetime | None]
    """The newest of the pruned runs was started before this moment; null where none was."""
    pruned_at: Mapped[datetime | None]
