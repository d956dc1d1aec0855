"""The repository of service level objectives, and the counts that they are judged by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from app.store.database.errors import ConflictError
from app.store.database.identity import new_id, now
from app.store.database.session import Database
from app.store.objectives import counts
from app.store.objectives.memo import Memo
from app.store.objectives.records import (
    ALL_TRAFFIC,
    Counted,
    Metric,
    Objective,
    PrecisionUse,
    Scope,
    Stretch,
    Tally,
)
from app.store.objectives.schema import ObjectiveRow
from app.store.runs.records import RunFilter, RunSource

LONGEST_DAYS = 90
_LONGEST_S = 3600.0


class ObjectiveStore:
    """Keeps objectives, beside the runs, and counts runs by them. Safe to share between threads.

    Counts are nobody's, and cover everybody's runs. Every method raises `StoreError`, written for the user, where the
    database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date."""
        self._database = database
        self.memo = Memo()
        """Of figures over long stretches of time, whoever reads them."""

    def all(self) -> tuple[Objective, ...]:
        """The oldest first."""
        rows = select(ObjectiveRow).order_by(ObjectiveRow.created_at, ObjectiveRow.id)
        with self._database.read() as session:
            return tuple(_to_objective(row) for row in session.scalars(rows))

    def add(
        self,
        metric: Metric,
        target: float,
        *,
        limit_s: float | None = None,
        window_days: int = 28,
        scope: Scope = ALL_TRAFFIC,
    ) -> Objective:
        """Keep a new one.

        Args:
            metric: of what.
            target: share of requests that is to meet it, above 0 and below 1.
            limit_s: of a latency, in seconds.
            window_days: over how many days it is judged.
            scope: of which runs.

        Raises:
            ConflictError: it cannot be judged so, or there is one like it.
        """
        made = Objective(
            id=new_id(),
            metric=metric,
            limit_s=limit_s if metric.is_latency else None,
            target=target,
            window_days=window_days,
            scope=scope,
            created_at=now(),
        )
        self._keep(made)
        return made

    def change(self, objective: Objective) -> None:
        """Keep one with other values.

        Raises:
            ConflictError: it cannot be judged so, or there is another one like it.
        """
        self._keep(objective)

    def remove(self, objective_id: str) -> None:
        """Forget one; nothing happens if it is gone."""
        with self._database.write() as session:
            session.execute(delete(ObjectiveRow).where(ObjectiveRow.id == objective_id))

    def _keep(self, objective: Objective) -> None:
        _check(objective)
        with self._database.write() as session:
            others = [_to_objective(row) for row in session.scalars(select(ObjectiveRow))]
            for other in others:
                if other.id != objective.id and replace(other, id=objective.id, created_at=objective.created_at) == (
                    objective
                ):
                    raise ConflictError("There is an objective like this already.")
            session.merge(
                ObjectiveRow(
                    id=objective.id,
                    metric=objective.metric,
                    limit_s=objective.limit_s,
                    target=objective.target,
                    window_days=objective.window_days,
                    model=objective.scope.model,
                    source=objective.scope.source,
                    config_hash=objective.scope.config_hash,
                    created_at=objective.created_at,
                )
            )

    # --- counts -----------------------------------------------------------------------------------

    def count(self, metric: Metric, limit_s: float | None, filter: RunFilter) -> Counted:
        """Runs that break a promise, of those of which one can tell; see `counts.count`."""
        with self._database.read() as session:
            return counts.count(session, metric, limit_s, filter)

    def count_over_time(
        self, objective: Objective, since: datetime, until: datetime, width: timedelta
    ) -> tuple[Stretch, ...]:
        """The same of an objective per stretch of time; see `counts.count_over_time`."""
        runs = objective.scope.runs(since, until)
        with self._database.read() as session:
            return counts.count_over_time(session, objective.metric, objective.limit_s, runs, width)

    def count_good(self, objectives: Collection[Objective], filter: RunFilter) -> Counted:
        """Requests that miss any objective, of all; see `counts.count_good`."""
        with self._database.read() as session:
            return counts.count_good(session, objectives, filter)

    def count_good_over_time(
        self, objectives: Collection[Objective], filter: RunFilter, width: timedelta, origin: datetime
    ) -> tuple[Stretch, ...]:
        """The same per stretch of time; see `counts.count_good_over_time`."""
        with self._database.read() as session:
            return counts.count_good_over_time(session, objectives, filter, width, origin)

    def tally(self, filter: RunFilter) -> Tally:
        """What alerts watch of the runs that a filter lets through."""
        with self._database.read() as session:
            return counts.tally(session, filter)

    def stale(self, filter: RunFilter) -> Counted:
        """Runs whose reused KV gave other logits than computed anew, of those where that was looked at."""
        with self._database.read() as session:
            return counts.stale(session, filter)

    def precisions(self, filter: RunFilter) -> tuple[PrecisionUse, ...]:
        """What finished runs were answered with, the most used first."""
        with self._database.read() as session:
            return counts.precisions(session, filter)


def _check(objective: Objective) -> None:
    if not 0 < objective.target < 1:
        raise ConflictError(
            "A target is above 0 % and below 100 %: a promise that no request may ever break leaves no error budget."
        )
    if objective.metric.is_latency and not (objective.limit_s and 0 < objective.limit_s <= _LONGEST_S):
        raise ConflictError("A limit is a time above 0 and of at most an hour.")
    if not 1 <= objective.window_days <= LONGEST_DAYS:
        raise ConflictError(f"A window is 1 to {LONGEST_DAYS} days long.")


def _to_objective(row: ObjectiveRow) -> Objective:
    return Objective(
        id=row.id,
        metric=Metric(row.metric),
        limit_s=row.limit_s,
        target=row.target,
        window_days=row.window_days,
        scope=Scope(
            model=row.model, source=None if row.source is None else RunSource(row.source), config_hash=row.config_hash
        ),
        created_at=row.created_at,
    )
