"""What is read of the runs: one by one, in lists, as figures over many, written out.

A run whose end waits to be written is given as it ended. Filters, orders, counts and figures go by what is written.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TextIO

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from app.store.database.errors import RunNotFoundError, StoreError
from app.store.database.session import Database
from app.store.outbox.outbox import Outbox
from app.store.runs import export, statistics
from app.store.runs.endings import ENDING, as_ended, timeline_of, whole_run
from app.store.runs.queries import conditions, order, to_record, to_summary
from app.store.runs.records import (
    ALL_RUNS,
    NEWEST_FIRST,
    ConfigurationStats,
    Facets,
    Latency,
    RecentSpeed,
    RunFilter,
    RunPage,
    RunRecord,
    RunSort,
    RunSummary,
    TimeBucket,
    Totals,
)
from app.store.runs.repeats import Repeats, repeats
from app.store.runs.schema import Run, RunContent, RunTag, RunTimeline
from app.store.runs.timeline import Timeline

PROMPT_PREVIEW_CHARACTERS = 200
_MOST_CONFIGURATIONS = 200
_RECENT_RUNS = 500


class RunReader:
    """The reading half of `RunStore`."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox

    # --- reading ----------------------------------------------------------------------------------

    def get(self, run_id: str) -> RunRecord:
        """One run.

        Raises:
            RunNotFoundError: there is none of that id.
        """
        found = self.get_many([run_id])
        if not found:
            raise RunNotFoundError(run_id)
        return found[0]

    def get_many(self, run_ids: Collection[str]) -> tuple[RunRecord, ...]:
        """The runs with these ids, in the order asked for; ids that are not there are left out.

        A run whose end waits to be written is given as it ended, even where the database cannot be read.
        """
        waiting = {run_id: result for run_id in run_ids if (result := self._outbox.find(ENDING, run_id))}
        found: dict[str, RunRecord] = {}
        try:
            with self._database.read() as session:
                runs = session.scalars(
                    select(Run).where(Run.id.in_(run_ids)).options(joinedload(Run.content), selectinload(Run.tags))
                )
                found = {run.id: to_record(run) for run in runs}
        except StoreError:
            if not waiting or len(waiting) < len(run_ids):
                raise
        for run_id, result in waiting.items():
            if shown := as_ended(found[run_id], result) if run_id in found else whole_run(result):
                found[run_id] = shown
        return tuple(found[run_id] for run_id in run_ids if run_id in found)

    def timeline(self, run_id: str) -> Timeline | None:
        """The tokens of a run, one by one; ``None`` if none were kept."""
        if waiting := self._outbox.find(ENDING, run_id):
            return timeline_of(waiting)
        with self._database.read() as session:
            packed = session.scalar(select(RunTimeline.payload).where(RunTimeline.run_id == run_id))
        return None if packed is None else Timeline.unpack(packed)

    def page(
        self, filter: RunFilter = ALL_RUNS, sort: RunSort = NEWEST_FIRST, *, limit: int = 50, offset: int = 0
    ) -> RunPage:
        """One page of the runs that the filter lets through.

        A run whose end waits to be written is listed as it ended; filters, orders and counts go by what is written.
        """
        wanted = conditions(filter)
        # The ids first: the long texts of the rows that are skipped are then never read.
        ids = select(Run.id).where(*wanted).order_by(*order(sort)).limit(limit).offset(offset).subquery()
        prompt = func.substr(RunContent.prompt, 1, PROMPT_PREVIEW_CHARACTERS)
        rows = (
            select(Run, prompt, RunContent.error, RunContent.config, RunContent.disturbance)
            .join(ids, ids.c.id == Run.id)
            .join(RunContent, RunContent.run_id == Run.id)
            .order_by(*order(sort))
            .options(selectinload(Run.tags))
        )
        with self._database.read() as session:
            found = tuple(self._as_it_stands(to_summary(*row)) for row in session.execute(rows))
            if len(found) < limit and (found or not offset):
                return RunPage(found, total=offset + len(found))  # the last page: no need to count the others
            return RunPage(found, total=session.scalar(select(func.count()).select_from(Run).where(*wanted)) or 0)

    def facets(self) -> Facets:
        """The distinct values that filters can offer."""
        with self._database.read() as session:
            kinds = session.execute(select(Run.model, Run.backend, Run.precision).distinct()).all()
            return Facets(
                models=tuple(sorted({kind.model for kind in kinds})),
                backends=tuple(sorted({kind.backend for kind in kinds})),
                precisions=tuple(sorted({kind.precision for kind in kinds})),
                tags=tuple(session.scalars(select(RunTag.tag).distinct().order_by(RunTag.tag))),
                configurations=statistics.configurations(session, ALL_RUNS, _MOST_CONFIGURATIONS),
            )

    # --- writing out ------------------------------------------------------------------------------

    def export_csv(self, filter: RunFilter, stream: TextIO) -> int:
        """Write runs as CSV, oldest first, one row a run without its timeline; returns how many.

        Text that a spreadsheet would take for a formula gets an apostrophe in front.
        """
        with self._database.read() as session:
            return export.write_csv(session, filter, stream)

    def export_jsonl(self, filter: RunFilter, stream: TextIO) -> int:
        """Write runs as JSON Lines, oldest first, all of each including its timeline; returns how many."""
        with self._database.read() as session:
            return export.write_jsonl(session, filter, stream)

    # --- statistics -------------------------------------------------------------------------------

    def totals(self, filter: RunFilter = ALL_RUNS) -> Totals:
        """Counts over the runs that the filter lets through."""
        with self._database.read() as session:
            return statistics.totals(session, filter)

    # Percentiles are of the runs that were not disturbed, unless ``with_disturbed`` or the filter asks for others.

    def latency(self, filter: RunFilter = ALL_RUNS, *, with_disturbed: bool = False) -> Latency:
        """TTFT, TPOT and E2E percentiles over the finished runs among them."""
        with self._database.read() as session:
            return statistics.latency(session, filter, with_disturbed)

    def over_time(
        self, filter: RunFilter, bucket: timedelta, *, with_disturbed: bool = False
    ) -> tuple[TimeBucket, ...]:
        """Counts and percentiles per stretch of time, oldest first; stretches without runs are left out."""
        with self._database.read() as session:
            return statistics.over_time(session, filter, bucket, with_disturbed)

    def by_configuration(
        self, filter: RunFilter = ALL_RUNS, *, limit: int = _MOST_CONFIGURATIONS, with_disturbed: bool = False
    ) -> tuple[ConfigurationStats, ...]:
        """Counts and percentiles of the most used configurations, the most used first."""
        with self._database.read() as session:
            return statistics.by_configuration(session, filter, limit, with_disturbed)

    def count_configurations(self, filter: RunFilter = ALL_RUNS) -> int:
        """How many configurations the runs that the filter lets through have."""
        counted = select(func.count(Run.config_hash.distinct())).where(*conditions(filter))
        with self._database.read() as session:
            return session.scalar(counted) or 0

    def recent_speeds(self, model: str) -> dict[str, RecentSpeed]:
        """By precision, what the latest finished runs of a model say that Gearbox's own backend answered."""
        with self._database.read() as session:
            return statistics.recent_speeds(session, model, _RECENT_RUNS)

    def repeats(self, host: str, *, without: str | None = None) -> dict[str, Repeats]:
        """How far apart ``ttft_s``, ``tpot_s`` and ``e2e_s`` lie in runs of a host that did the same work within a day.

        Only the newest runs are looked at, so that what is said follows the machine. ``without`` leaves out a group.
        """
        with self._database.read() as session:
            return repeats(session, host, without=without)

    def _as_it_stands(self, run: RunSummary) -> RunSummary:
        waiting = self._outbox.find(ENDING, run.id)
        return as_ended(run, waiting) if waiting else run
