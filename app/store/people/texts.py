"""Whose the texts are that labs keep under their hash. One may be several persons'; each has a name for it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, exists, or_, select
from sqlalchemy.orm import Session

from app.store.people.schema import TextOwner
from app.store.people.visibility import Viewer


def claim(session: Session, sha256: str, name: str, person_id: str | None, *, is_new: bool) -> None:
    """Say that a text is somebody's, or with ``None`` the desk's. What is the desk's stays so: everybody has seen it.

    Args:
        session: to write with.
        sha256: the text's.
        name: what they call it.
        person_id: whose it is.
        is_new: whether it was not kept so far.
    """
    if person_id is None:
        session.execute(delete(TextOwner).where(TextOwner.sha256 == sha256))
    elif is_new or session.scalar(select(exists().where(TextOwner.sha256 == sha256))):
        session.merge(TextOwner(sha256=sha256, person_id=person_id, name=name))


def visible_text(sha256: SQLColumnExpression[str], viewer: Viewer | None) -> list[ColumnElement[bool]]:
    """That a viewer may see the text of a hash, as conditions; none for the application itself."""
    if viewer is None or viewer.sees_all:
        return []
    owned = exists().where(TextOwner.sha256 == sha256)
    return [or_(~owned, owned.where(TextOwner.person_id == viewer.person_id))]


def may_see_text(session: Session, sha256: str, viewer: Viewer | None) -> bool:
    """The same of one text."""
    if viewer is None or viewer.sees_all:
        return True
    owners = session.scalars(select(TextOwner.person_id).where(TextOwner.sha256 == sha256)).all()
    return not owners or viewer.person_id in owners


def own_names(session: Session, viewer: Viewer | None) -> dict[str, str]:
    """What a viewer calls the texts that are theirs, by hash."""
    if viewer is None:
        return {}
    rows = select(TextOwner.sha256, TextOwner.name).where(TextOwner.person_id == viewer.person_id)
    return {row.sha256: row.name for row in session.execute(rows)}
