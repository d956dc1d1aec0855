"""What is read of the runs: one by one, in lists, as figures over many, written out.

A run whose end waits to be written is given as it ended. Filters, orders, counts and figures go by what is written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import BinaryIO, TextIO

from sqlalchemy import Select, func, select
from sqlalchemy.orm import joinedload, selectinload

from app.store.database.errors import RunNotFoundError, RunOfAnotherError, StoreError
from app.store.database.session import Database
from app.store.outbox.outbox import Outbox
from app.store.people.visibility import Seen, visible
from app.store.runs import export
from app.store.runs.endings import ENDING, as_ended, timeline_of, whole_run
from app.store.runs.figures import AnswerSpeed, ConfigurationStats, Latency, RecentSpeed, TimeBucket, Totals
from app.store.runs.parquet import write_parquet
from app.store.runs.queries import listed, order, to_record, to_summary
from app.store.runs.records import (
    ALL_RUNS,
    NEWEST_FIRST,
    Facets,
    RunFilter,
    RunPage,
    RunRecord,
    RunSort,
    RunSource,
    RunSummary,
)
from app.store.runs.schema import Run, RunContent, RunTag, RunTimeline
from app.store.runs.search.index import MOST_NARROWED, text_index
from app.store.runs.search.looking_back import LOOKED_BACK, looked_back_to
from app.store.runs.statistics import exact
from app.store.runs.statistics.answered import AnsweredRun, UsedConfiguration, answered_runs, used_configurations
from app.store.runs.statistics.cascades import CascadeSums, cascades
from app.store.runs.statistics.offered import Offering, distinct_values
from app.store.runs.statistics.overview import Overview, overview, stretch_of_all
from app.store.runs.statistics.repeats import Repeats, repeats
from app.store.runs.statistics.speeds import answer_speeds
from app.store.runs.timeline import Timeline
from engine.untrusted import valid_text

PROMPT_PREVIEW_CHARACTERS = 200
MOST_COUNTED = 1_000
"""Of runs that have a common text in them; that there are more is said."""
_MOST_CONFIGURATIONS = 200
_MOST_USED = 1_000
"""One for each length that answers may have, so that there are more of them."""
_RECENT_RUNS = 500
_RECENT_ANSWERS = 5_000


class RunReader(Seen):
    """The reading half of `RunStore`."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        """Use a database whose schema is up to date, and the outbox before it."""
        self._database = database
        self._outbox = outbox
        self._offering = Offering(_MOST_CONFIGURATIONS)
        self.texts = text_index(database)
        """The index over the texts of runs, which searches go by."""

    # --- reading ----------------------------------------------------------------------------------

    def get(self, run_id: str) -> RunRecord:
        """One run.

        Raises:
            RunNotFoundError: there is none of that id.
            RunOfAnotherError: it is one that the viewer may not see.
        """
        found = self.get_many([run_id])
        if not found:
            self._must_see(run_id)
            raise RunNotFoundError(run_id)
        return found[0]

    def get_many(self, run_ids: Collection[str]) -> tuple[RunRecord, ...]:
        """The runs with these ids, in the order asked for; those that are not there, or that the viewer
        may not see, are left out.

        A run whose end waits to be written is given as it ended, even where the database cannot be read.
        """
        waiting = {run_id: result for run_id in run_ids if (result := self._outbox.find(ENDING, run_id))}
        found: dict[str, RunRecord] = {}
        try:
            with self._database.read() as session:
                runs = session.scalars(
                    select(Run)
                    .where(Run.id.in_(run_ids), *visible(Run.person_id, self._viewer))
                    .options(joinedload(Run.content), selectinload(Run.tags))
                )
                found = {run.id: to_record(run) for run in runs}
        except StoreError:
            if not waiting or len(waiting) < len(run_ids):
                raise
        for run_id, result in waiting.items():
            shown = as_ended(found[run_id], result) if run_id in found else whole_run(result)
            if shown and (self._viewer is None or self._viewer.may_see(shown.person_id)):
                found[run_id] = shown
        return tuple(found[run_id] for run_id in run_ids if run_id in found)

    def timeline(self, run_id: str) -> Timeline | None:
        """The tokens of a run, one by one; ``None`` if none were kept.

        Raises:
            RunOfAnotherError: the viewer may not see the run.
        """
        self._must_see(run_id)
        if waiting := self._outbox.find(ENDING, run_id):
            return timeline_of(waiting)
        with self._database.read() as session:
            packed = session.scalar(select(RunTimeline.payload).where(RunTimeline.run_id == run_id))
        return None if packed is None else Timeline.unpack(packed)

    def page(
        self,
        filter: RunFilter = ALL_RUNS,
        sort: RunSort = NEWEST_FIRST,
        *,
        limit: int = 50,
        offset: int = 0,
        looked_back: int = LOOKED_BACK,
    ) -> RunPage:
        """One page of the runs that the filter lets through and the viewer may see. A text too short for the index is
        looked for among the ``looked_back`` newest; the page says so.

        A run whose end waits to be written is listed as it ended; filters, orders and counts go by what is written.
        """
        filter = self._asked(filter)
        with self._database.read() as session:
            since = looked_back_to(session, filter, looked_back)
        page = self._page(filter if since is None else replace(filter, since=since), sort, limit, offset)
        return replace(page, searched_since=since)

    def _page(self, filter: RunFilter, sort: RunSort, limit: int, offset: int) -> RunPage:
        wanted = listed(filter)
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
            if not filter.text.strip() or filter.narrowed:
                return RunPage(found, total=session.scalar(select(func.count()).select_from(Run).where(*wanted)) or 0)
            some = select(Run.id).where(*wanted).limit(MOST_COUNTED + 1).subquery()
            total = session.scalar(select(func.count()).select_from(some)) or 0
            return RunPage(found, total=min(total, MOST_COUNTED), more=total > MOST_COUNTED)

    def facets(self) -> Facets:
        """The distinct values that filters can offer: tags of runs that the viewer may see, all else of everybody's."""
        with self._database.read() as session:
            offered = self._offering.read(session)
            sources = distinct_values(session, Run.source)
            models, backends, precisions = (tuple(sorted({kind[n] for kind in offered.kinds})) for n in range(3))
            return Facets(
                models=models,
                backends=backends,
                precisions=precisions,
                tags=tuple(session.scalars(self._tags())),
                sources=tuple(source for source in RunSource if source in sources),
                configurations=offered.configurations,
            )

    # --- what configurations are compared by ------------------------------------------------------

    def used_configurations(self, filter: RunFilter = ALL_RUNS) -> tuple[UsedConfiguration, ...]:
        """The configurations of runs that are over and that the viewer may see, the most used first."""
        with self._database.read() as session:
            return used_configurations(session, self._asked(filter), _MOST_USED)

    def answered(self, filter: RunFilter = ALL_RUNS) -> tuple[AnsweredRun, ...]:
        """What each run took that is over and that the viewer may see, the oldest first."""
        with self._database.read() as session:
            return answered_runs(session, self._asked(filter))

    # --- writing out ------------------------------------------------------------------------------

    def export_csv(self, filter: RunFilter, stream: TextIO) -> int:
        """Write the runs that the viewer may see as CSV, oldest first, one row a run without its timeline; returns
        how many.

        It begins with a byte order mark, and text that a spreadsheet would take for a formula gets an apostrophe in
        front.
        """
        with self._database.read() as session:
            return export.write_csv(session, self._asked(filter), stream)

    def export_jsonl(self, filter: RunFilter, stream: TextIO) -> int:
        """Write the runs that the viewer may see as JSON Lines, oldest first, all of each including its timeline;
        returns how many."""
        with self._database.read() as session:
            return export.write_jsonl(session, self._asked(filter), stream)

    def export_parquet(self, filter: RunFilter, stream: BinaryIO) -> int:
        """Write the runs that the viewer may see as Parquet, oldest first, one row a run without its timeline; returns
        how many."""
        with self._database.read() as session:
            return write_parquet(session, self._asked(filter), stream)

    # --- statistics, over everybody's runs --------------------------------------------------------

    def totals(self, filter: RunFilter = ALL_RUNS) -> Totals:
        """Counts over the runs that the filter lets through."""
        with self._database.read() as session:
            return exact.totals(session, self._asked(filter))

    # Percentiles are of the runs that were not disturbed, unless ``with_disturbed`` or the filter asks for others.

    def latency(self, filter: RunFilter = ALL_RUNS, *, with_disturbed: bool = False) -> Latency:
        """TTFT, TPOT and E2E percentiles over the finished runs among them."""
        with self._database.read() as session:
            return exact.latency(session, self._asked(filter), with_disturbed)

    def over_time(
        self, filter: RunFilter, bucket: timedelta, *, with_disturbed: bool = False
    ) -> tuple[TimeBucket, ...]:
        """Counts and percentiles per stretch of time, oldest first; stretches without runs are left out."""
        with self._database.read() as session:
            return exact.over_time(session, self._asked(filter), bucket, with_disturbed)

    def by_configuration(
        self, filter: RunFilter = ALL_RUNS, *, limit: int = _MOST_CONFIGURATIONS, with_disturbed: bool = False
    ) -> tuple[ConfigurationStats, ...]:
        """Counts and percentiles of the most used configurations, the most used first."""
        with self._database.read() as session:
            return exact.by_configuration(session, self._asked(filter), limit, with_disturbed)

    def overview(self, filter: RunFilter, edges: Sequence[datetime], *, with_disturbed: bool = False) -> Overview:
        """All figures of the runs by stretch of time, configuration, model, source and key, read together. Over more
        than 5,000 runs percentiles are right to 1 %.

        Args:
            filter: which runs; its own beginning and end are not asked.
            edges: where one stretch begins and the other ends, ascending, at least two.
            with_disturbed: whether percentiles are of disturbed runs too.
        """
        with self._database.read() as session:
            return overview(session, self._asked(filter), edges, _MOST_CONFIGURATIONS, with_disturbed)

    def stretch_of_all(self) -> tuple[datetime, datetime] | None:
        """From when to when runs were started, to a quarter of an hour; ``None`` without any."""
        with self._database.read() as session:
            return stretch_of_all(session)

    def cascades(self, stats: Sequence[ConfigurationStats]) -> tuple[CascadeSums, ...]:
        """What the configurations among these with a cascade saved against their largest model alone. Disturbed runs
        count: what held one model up held up the other.
        """
        with self._database.read() as session:
            return cascades(session, stats)

    def recent_speeds(self, model: str, *, host: str | None = None) -> dict[str, RecentSpeed]:
        """By precision, what the latest finished runs of a model say that Gearbox's own backend answered, those of the
        labs left out. ``host`` is the machine that they ran on, if only one is meant."""
        with self._database.read() as session:
            return exact.recent_speeds(session, model, _RECENT_RUNS, host)

    def answer_speeds(self, host: str) -> tuple[AnswerSpeed, ...]:
        """How models answered on a host, by model and precision, alone and in company; those with the most runs
        first."""
        with self._database.read() as session:
            return answer_speeds(session, host, _RECENT_ANSWERS)

    def repeats(self, host: str, *, without: str | None = None) -> dict[str, Repeats]:
        """How far apart ``ttft_s``, ``tpot_s`` and ``e2e_s`` lie in runs of a host that did the same work within a day.

        Only the newest runs are looked at, so that what is said follows the machine. ``without`` leaves out a group.
        """
        with self._database.read() as session:
            return repeats(session, host, without=without)

    def _asked(self, filter: RunFilter) -> RunFilter:
        needle = valid_text(filter.text.strip())
        narrowed = bool(needle) and self.texts.narrows(needle, MOST_NARROWED)
        return replace(filter, viewer=self._viewer, narrowed=narrowed)

    def _must_see(self, run_id: str) -> None:
        """Refuse what is somebody else's and not to be seen.

        Raises:
            RunOfAnotherError: it is.
        """
        viewer = self._viewer
        if viewer is None or viewer.sees_all:
            return
        waiting = self._outbox.find(ENDING, run_id)
        if waiting and (run := whole_run(waiting)):
            owner = run.person_id
        else:
            with self._database.read() as session:
                owner = session.scalar(select(Run.person_id).where(Run.id == run_id))
        if not viewer.may_see(owner):
            raise RunOfAnotherError(run_id)

    def _tags(self) -> Select[str]:
        tags = select(RunTag.tag).distinct().order_by(RunTag.tag)
        if seen := visible(Run.person_id, self._viewer):
            tags = tags.join(Run, Run.id == RunTag.run_id).where(*seen)
        return tags

    def _as_it_stands(self, run: RunSummary) -> RunSummary:
        waiting = self._outbox.find(ENDING, run.id)
        return as_ended(run, waiting) if waiting else run
