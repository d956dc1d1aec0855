"""The table of what was chosen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText


class Option(Base):
    """What was chosen for one subject, as its module writes it."""

    __tablename__ = "options"

    subject: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    value: Mapped[Any] = mapped_column(JsonText)
    changed_at: Mapped[datetime]
