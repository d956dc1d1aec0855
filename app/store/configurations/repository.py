"""The repository of saved configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain, count
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from app.store.configurations.records import SavedConfiguration
from app.store.configurations.schema import SavedConfigurationRow
from app.store.database.errors import ConflictError, GoneError
from app.store.database.identity import new_id, now
from app.store.database.session import Database

NAME_CHARACTERS = 60


class NameTakenError(ConflictError):
    """A configuration of that name is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” is there already. Choose another name, or overwrite it.")


class ConfigurationStore:
    """Keeps configurations that people saved, beside the runs. Safe to share between threads.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database

    def saved(self, person: str | None) -> tuple[SavedConfiguration, ...]:
        """A person's own and the desk's, by name; for ``None`` the desk's alone."""
        row = SavedConfigurationRow
        rows = select(row).where(or_(row.person == person, row.person.is_(None)))
        with self._database.read() as session:
            found = session.scalars(rows.order_by(func.lower(row.name), row.id)).all()
        return tuple(_to_saved(each) for each in found)

    def everybodys(self) -> tuple[SavedConfiguration, ...]:
        """All of all persons and of the desk, by name: how a model is set is nobody's secret."""
        row = SavedConfigurationRow
        with self._database.read() as session:
            found = session.scalars(select(row).order_by(func.lower(row.name), row.id)).all()
        return tuple(_to_saved(each) for each in found)

    def save(
        self, person: str | None, name: str, config: Mapping[str, Any], *, warm: bool, overwrite: bool = False
    ) -> str:
        """Save a configuration under a name, and return its id.

        Args:
            person: whose it is; ``None`` for the desk's.
            name: cut to 60 characters.
            config: ``RunConfig.to_dict``.
            warm: whether a run with it reuses what earlier ones kept.
            overwrite: whether one of that name gives way.

        Raises:
            NameTakenError: there is one of that name, which is not to be overwritten.
            ConflictError: the name is empty.
        """
        name = _clean(name)
        with self._database.write() as session:
            kept = _named(session, person, name)
            if kept and not overwrite:
                raise NameTakenError(name)
            kept = kept or SavedConfigurationRow(id=new_id(), person=person, name=name)
            kept.config, kept.warm, kept.saved_at = dict(config), warm, now()
            session.add(kept)
            return kept.id

    def save_once(self, person: str | None, name: str, config: Mapping[str, Any], *, warm: bool = False) -> str:
        """Save a configuration under a name, or where another one has that, under the name with a number. One of theirs
        that is saved already stays as it is. The name that it has.

        Args:
            person: as for :meth:`save`.
            name: as for :meth:`save`.
            config: as for :meth:`save`.
            warm: as for :meth:`save`.

        Raises:
            ConflictError: the name is empty.
        """
        wanted = json.loads(json.dumps(config))
        own = {each.name: (each.config, each.warm) for each in self.saved(person) if each.person == person}
        if same := next((each for each, kept in own.items() if kept == (wanted, warm)), None):
            return same
        name = _clean(name)
        numbered = chain([name], (_clean(f"{name[: NAME_CHARACTERS - 4]} {number}") for number in count(2)))
        free = next(each for each in numbered if each not in own)
        self.save(person, free, wanted, warm=warm)
        return free

    def rename(self, person: str | None, saved_id: str, name: str) -> None:
        """Give one of a person's configurations another name.

        Raises:
            NameTakenError: another one has that name.
            ConflictError: the name is empty.
            GoneError: it was deleted, or belongs to somebody else.
        """
        name = _clean(name)
        with self._database.write() as session:
            kept = session.get(SavedConfigurationRow, saved_id)
            if kept is None or kept.person != person:
                raise GoneError("This configuration is no longer there: it may have been deleted in another window.")
            there = _named(session, person, name)
            if there and there.id != saved_id:
                raise NameTakenError(name)
            kept.name = name

    def delete(self, person: str | None, saved_id: str) -> None:
        """Delete one of a person's configurations; nothing happens if it is gone, or somebody else's."""
        row = SavedConfigurationRow
        with self._database.write() as session:
            session.execute(delete(row).where(row.id == saved_id, row.person.is_not_distinct_from(person)))


def _clean(name: str) -> str:
    """A name on one line.

    Raises:
        ConflictError: nothing is left of it.
    """
    if cleaned := " ".join(name.split())[:NAME_CHARACTERS].rstrip():
        return cleaned
    raise ConflictError("Give the configuration a name.")


def _named(session: Session, person: str | None, name: str) -> SavedConfigurationRow | None:
    row = SavedConfigurationRow
    return session.scalars(select(row).where(row.person.is_not_distinct_from(person), row.name == name)).first()


def _to_saved(row: SavedConfigurationRow) -> SavedConfiguration:
    return SavedConfiguration(
        id=row.id, name=row.name, person=row.person, config=row.config, warm=row.warm, saved_at=row.saved_at
    )
