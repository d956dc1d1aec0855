"""What cascades saved against their largest models alone, from what was summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.store.runs.figures import ConfigurationStats
from app.store.runs.schema import Run, RunContent
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


def cascades(session: Session, stats: Sequence[ConfigurationStats]) -> tuple[CascadeSums, ...]:
    """Of the configurations among these with a cascade, in their order.

    Args:
        session: to read with.
        stats: what the configurations' runs did.
    """
    return tuple(
        CascadeSums(
            config_hash=each.configuration.config_hash,
            runs=each.work.cascades,
            went_up=each.work.went_up,
            measured_alone_s=each.work.alone_measured_s,
            measured_saved_s=each.work.saved_measured_s,
            derived_alone_s=each.work.alone_derived_s,
            derived_saved_s=each.work.saved_derived_s,
            guards=_guards(session, each.configuration.config_hash),
        )
        for each in stats
        if each.work.cascades
    )


def _guards(session: Session, config_hash: str) -> tuple[GuardState, ...]:
    """As the latest run of a cascade met them."""
    known = (Run.config_hash == config_hash, Run.large_alone_s.is_not(None))
    latest = select(Run.id).where(*known).order_by(Run.created_at.desc()).limit(1).scalar_subquery()
    report = session.scalar(select(RunContent.cascade).where(RunContent.run_id == latest))
    return CascadeReport.from_dict(report).guards if report else ()
