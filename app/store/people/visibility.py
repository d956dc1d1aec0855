"""Who sees what: the one place that decides it, for every query and every row.

What somebody wrote, was answered, noted or named is theirs. What has no owner belongs to the desk, and everybody sees
it: all that was stored before there were persons. Counts, latencies, costs and configurations are nobody's.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, SQLColumnExpression, or_


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks."""

    person_id: str
    sees_all: bool
    """Whether what others wrote is shown to them too."""

    def may_see(self, owner: str | None) -> bool:
        """Whether they may see, and so change, what ``owner`` has; ``None`` is the desk."""
        return self.sees_all or owner is None or owner == self.person_id


class Seen:
    """Base of the stores that somebody looks at."""

    _viewer: Viewer | None = None

    @property
    def viewer(self) -> Viewer | None:
        """Who sees what is read here; ``None`` is the application itself, which sees all."""
        return self._viewer

    @property
    def may_administer(self) -> bool:
        """Whether they may change what concerns everybody, such as retention and alert rules."""
        return self._viewer is None or self._viewer.sees_all

    def seen_by(self, viewer: Viewer | None) -> Self:
        """The same store as somebody sees it: without what others have, which is left out of lists and refused by id.
        ``None`` is the application itself."""
        seen = copy(self)
        seen._viewer = viewer
        return seen


def visible(owner: SQLColumnExpression[Any], viewer: Viewer | None) -> list[ColumnElement[bool]]:
    """`Viewer.may_see` as conditions on the column of the owner; none for ``None``, the application itself."""
    return [] if viewer is None or viewer.sees_all else own(owner, viewer)


def own(owner: SQLColumnExpression[Any], viewer: Viewer | None) -> list[ColumnElement[bool]]:
    """That something is the viewer's own or the desk's, whatever else they may see."""
    return [] if viewer is None else [or_(owner.is_(None), owner == viewer.person_id)]
