"""What cascades saved against their largest models alone, reckoned by the database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.store.runs.records import RunFilter
from app.store.runs.schema import Run, RunContent
from app.store.runs.statistics.exact import chosen_runs
from engine.types import CascadeReport, GuardState


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSums:
    """Over the runs of one configuration of which it is known what the largest model alone would have taken."""

    config_hash: str
    runs: int
    went_up: int
    """Answered by the largest model: what it alone would have taken is measured there."""
    measured_alone_s: float
    measured_saved_s: float
    """Against that, below 0 where time was lost."""
    derived_alone_s: float
    """Where smaller models answered."""
    derived_saved_s: float
    guards: tuple[GuardState, ...]
    """As the latest of the runs met them."""

    @property
    def alone_s(self) -> float:
        """Seconds that the largest model alone would have taken for all of them, measured and derived."""
        return self.measured_alone_s + self.derived_alone_s

    @property
    def saved_s(self) -> float:
        """Seconds saved, below 0 where time was lost."""
        return self.measured_saved_s + self.derived_saved_s


def cascades(session: Session, filter: RunFilter, limit: int) -> tuple[CascadeSums, ...]:
    """By configuration, the most used first.

    Args:
        session: to read with.
        filter: which runs.
        limit: how many configurations at most.
    """
    columns = (Run.id, Run.config_hash, Run.large_alone_s, Run.large_alone_derived, Run.cascade_saved_s)
    runs = chosen_runs(filter, *columns, also=[Run.large_alone_s.is_not(None)]).c
    derived = runs.large_alone_derived.is_(True)
    rows = session.execute(
        select(
            runs.config_hash,
            func.count().label("runs"),
            func.max(runs.id).label("latest"),  # ids sort by time
            func.sum(case((derived, 0), else_=1)).label("went_up"),
            func.sum(case((derived, 0.0), else_=runs.large_alone_s)).label("measured_alone_s"),
            func.sum(case((derived, 0.0), else_=runs.cascade_saved_s)).label("measured_saved_s"),
            func.sum(case((derived, runs.large_alone_s), else_=0.0)).label("derived_alone_s"),
            func.sum(case((derived, runs.cascade_saved_s), else_=0.0)).label("derived_saved_s"),
        )
        .group_by(runs.config_hash)
        .order_by(func.count().desc(), runs.config_hash)
        .limit(limit)
    ).all()
    latest = select(RunContent.run_id, RunContent.cascade).where(RunContent.run_id.in_([row.latest for row in rows]))
    reports = {run_id: CascadeReport.from_dict(tree) for run_id, tree in session.execute(latest).all()}
    return tuple(
        CascadeSums(
            config_hash=row.config_hash,
            runs=row.runs,
            went_up=int(row.went_up),
            measured_alone_s=float(row.measured_alone_s),
            measured_saved_s=float(row.measured_saved_s),
            derived_alone_s=float(row.derived_alone_s),
            derived_saved_s=float(row.derived_saved_s),
            guards=reports[row.latest].guards,
        )
        for row in rows
    )
