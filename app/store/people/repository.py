"""The repository of persons' settings. Bounded: who has set nothing for longest is forgotten first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select

from app.store.database.identity import now
from app.store.database.session import Database
from app.store.people.schema import PersonSettings

MOST_PERSONS = 10_000
MOST_CHARACTERS = 200_000
"""Of all settings of a person together, as JSON."""


class PeopleStore:
    """Keeps settings by person. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database

    def settings(self, person_id: str) -> dict[str, Any]:
        """What somebody has set, as JSON values by name; nothing of somebody who is not known."""
        with self._database.read() as session:
            kept = session.get(PersonSettings, person_id)
            return dict(kept.settings) if kept else {}

    def keep_settings(self, person_id: str, changes: Mapping[str, Any]) -> None:
        """Keep settings over those that are there; the others stay as they are, so that two tabs that set different
        things keep both. What has no room beside all else is left out, and what was there of it as well.

        Gives up at once where another process is writing.

        Args:
            person_id: whose.
            changes: JSON values by name.
        """
        row = PersonSettings
        with self._database.write(hasty=True) as session:
            kept = session.get(row, person_id)
            if kept is None:
                kept = row(person_id=person_id, settings={})
                session.add(kept)
            kept.settings, kept.changed_at = _bounded({**kept.settings, **changes}, changes), now()
            session.flush()
            if (session.scalar(select(func.count()).select_from(row)) or 0) > MOST_PERSONS:
                newest = select(row.person_id).order_by(row.changed_at.desc()).limit(MOST_PERSONS)
                session.execute(delete(row).where(row.person_id.not_in(newest)))


def _bounded(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the largest of those that changed, until all have room."""
    sizes = {name: len(json.dumps([name, value], ensure_ascii=False)) for name, value in settings.items()}
    for name in sorted(changes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= MOST_CHARACTERS:
            break
        del sizes[name]
    return {name: settings[name] for name in sizes}
