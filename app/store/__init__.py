"""The runs kept: a SQLAlchemy repository that hands out frozen records."""

from app.store.errors import RunNotFoundError, StoreError
from app.store.records import (
    ALL_RUNS,
    NEWEST_FIRST,
    Configuration,
    ConfigurationStats,
    Facets,
    Latency,
    Percentiles,
    Rating,
    RunFilter,
    RunOutcome,
    RunPage,
    RunRecord,
    RunSort,
    RunStatus,
    RunSummary,
    SortColumn,
    TimeBucket,
    Totals,
)
from app.store.repository import RunStore
from app.store.timeline import Timeline

__all__ = [
    "ALL_RUNS",
    "NEWEST_FIRST",
    "Configuration",
    "ConfigurationStats",
    "Facets",
    "Latency",
    "Percentiles",
    "Rating",
    "RunFilter",
    "RunNotFoundError",
    "RunOutcome",
    "RunPage",
    "RunRecord",
    "RunSort",
    "RunStatus",
    "RunStore",
    "RunSummary",
    "SortColumn",
    "StoreError",
    "TimeBucket",
    "Timeline",
    "Totals",
]
