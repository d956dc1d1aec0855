"""Whose the texts are that labs keep under their hash. One may be several persons'; each has a name for it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, exists, or_, select
from sqlalchemy.orm import Session

from app.store.people.schema import TextOwner
from app.store.people.visibility import Viewer


def claim(session: Session, sha256: str, name: str, viewer: Viewer | None, *, everybodys: bool, is_new: bool) -> None:
    """Say whose a text is that is kept. What is the desk's stays so: everybody has seen it.

    Args:
        session: to write with.
        sha256: the text's.
        name: what they call it.
        viewer: who keeps it; for ``None``, the application itself, a new one is the desk's.
        everybodys: whether it is the desk's from now on.
        is_new: whether it was not kept so far.
    """
    owned = exists().where(TextOwner.sha256 == sha256)
    if everybodys:
        session.execute(delete(TextOwner).where(TextOwner.sha256 == sha256))
    elif viewer and (is_new or session.scalar(select(owned))):
        session.merge(TextOwner(sha256=sha256, person_id=viewer.person_id, name=name))


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
