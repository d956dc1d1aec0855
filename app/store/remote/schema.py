"""The table of remote models."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from app.store.database.columns import Base, CleanText, JsonText


class RemoteModelRow(Base):
    """A model of an OpenAI-compatible server."""

    __tablename__ = "remote_models"

    id: Mapped[str] = mapped_column(CleanText(32), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str]
    served_name: Mapped[str]
    metrics_url: Mapped[str | None]
    sealed_key: Mapped[str | None]
    """The key, sealed; never as it is."""
    has_key: Mapped[bool]
    """Whether there is one: without a seal it is in the memory of the server that it was given to."""
    key_variable: Mapped[str | None]
    """The environment variable that holds it instead."""
    input_price: Mapped[float | None]
    cached_price: Mapped[float | None]
    output_price: Mapped[float | None]
    abilities: Mapped[Any] = mapped_column(JsonText, nullable=True)
    """What the last connection test found; null until there was one."""
    tested_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
