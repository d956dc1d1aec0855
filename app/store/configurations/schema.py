"""The table of saved configurations."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText


class SavedConfigurationRow(Base):
    """A configuration under a name. Names are unique for each person, also among the desk's, which have no person:
    the repository sees to those."""

    __tablename__ = "saved_configurations"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    person: Mapped[str | None]
    name: Mapped[str]
    config: Mapped[Any] = mapped_column(JsonText)
    warm: Mapped[bool]
    saved_at: Mapped[datetime]

    __table_args__ = (Index("uq_saved_configurations_person_name", "person", "name", unique=True),)
