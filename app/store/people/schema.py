"""The tables of persons. A person is an id: of a browser's cookie, nothing more is known of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText

PERSON = 32


class PersonSettings(Base):
    """How somebody has set the widgets."""

    __tablename__ = "person_settings"

    person_id: Mapped[str] = mapped_column(CleanText(PERSON), primary_key=True)
    changed_at: Mapped[datetime]
    settings: Mapped[Any] = mapped_column(JsonText)
    """JSON values by name."""

    __table_args__ = (Index(None, "changed_at"),)


class TextOwner(Base):
    """Somebody to whom a text belongs that labs keep under its hash; one without any belongs to the desk."""

    __tablename__ = "text_owners"

    sha256: Mapped[str] = mapped_column(CleanText(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(CleanText(PERSON), primary_key=True)
    name: Mapped[str]
    """What this person calls it."""
