"""The values that filters offer. However many runs there are, only the few distinct entries of an index are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.store.runs.records import ALL_RUNS, Configuration
from app.store.runs.schema import Run
from app.store.runs.statistics import exact


def distinct_values(session: Session, column: InstrumentedAttribute[Any]) -> list[Any]:
    """The distinct values of an indexed column in their order, NULL left out.

    Each is looked up as the least above the one before it (a loose index scan): neither SQLite nor PostgreSQL skips
    equal entries by itself.
    """
    found = select(func.min(column).label("value")).cte("found", recursive=True)
    above = select(func.min(column)).where(column > found.c.value).scalar_subquery()
    found = found.union_all(select(above).where(found.c.value.is_not(None)))
    return list(session.scalars(select(found.c.value).where(found.c.value.is_not(None))))


@dataclass(frozen=True, slots=True)
class Offered:
    """Of all runs."""

    hashes: tuple[str, ...] = ()
    """Of all configurations."""
    kinds: tuple[tuple[str, str, str], ...] = ()
    """Models, backends and precisions."""
    configurations: tuple[Configuration, ...] = ()
    """The most used, the most used first."""


class Offering:
    """Counts what is offered, and keeps it for every viewer of a store."""

    def __init__(self, most_configurations: int) -> None:
        self._last = Offered()
        self._most_configurations = most_configurations

    def read(self, session: Session) -> Offered:
        """What is offered now. Uses are counted anew where other configurations are used than the last time."""
        hashes = tuple(distinct_values(session, Run.config_hash))
        if hashes != self._last.hashes:
            kinds = session.execute(select(Run.model, Run.backend, Run.precision).distinct())
            self._last = Offered(
                hashes,
                tuple((kind.model, kind.backend, kind.precision) for kind in kinds),
                exact.configurations(session, ALL_RUNS, self._most_configurations),
            )
        return self._last
