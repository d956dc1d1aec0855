"""The repository of what people chose for the whole installation, a JSON tree a subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.store.database.identity import now
from app.store.database.session import Database
from app.store.options.schema import Option


class OptionStore:
    """Keeps them. Safe to share between threads; every method raises `StoreError` where the database cannot be used."""

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database

    def get(self, subject: str) -> Mapping[str, Any] | None:
        """What was chosen; ``None`` until somebody has."""
        with self._database.read() as session:
            row = session.get(Option, subject)
            return None if row is None else row.value

    def set(self, subject: str, value: Mapping[str, Any]) -> None:
        """Choose, for every server on this database."""
        with self._database.write() as session:
            session.merge(Option(subject=subject, value=dict(value), changed_at=now()))
