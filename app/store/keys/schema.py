"""The table of the API's keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText


class ApiKeyRow(Base):
    """A key. Its secret is nowhere: only a slow hash of it."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(CleanText(12), unique=True)
    hash: Mapped[str] = mapped_column(String)
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(CleanText(32))
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    concurrent: Mapped[int | None]
    queue: Mapped[int | None]
