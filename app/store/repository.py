"""The repository of runs: the only way to the run database."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Self, TextIO

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, joinedload, selectinload

from app.store import export, statistics
from app.store.chat import ChatStore
from app.store.drafts import DraftStore
from app.store.errors import RunNotFoundError, StoreError
from app.store.identity import new_id, now
from app.store.lab import LabStore
from app.store.migrate import migrate
from app.store.owner import Owner
from app.store.queries import conditions, order, to_record, to_summary
from app.store.records import (
    ALL_RUNS,
    NEWEST_FIRST,
    ConfigurationStats,
    Facets,
    Latency,
    Rating,
    RecentSpeed,
    RunFilter,
    RunOutcome,
    RunPage,
    RunRecord,
    RunSort,
    RunStatus,
    TimeBucket,
    Totals,
)
from app.store.router import RouterStore
from app.store.schema import Run, RunContent, RunTag, RunTimeline
from app.store.session import Database
from app.store.timeline import Timeline
from engine.types import GenerationRequest, Losslessness

PROMPT_PREVIEW_CHARACTERS = 200
TAG_CHARACTERS = 60
_MOST_CONFIGURATIONS = 200
_IDS_AT_ONCE = 500
_RECENT_RUNS = 500


class RunStore:
    """Keeps runs. Safe to share between threads: every operation has a session of its own.

    Every method raises `StoreError`, written for the user, where the database cannot be used.
    """

    def __init__(self, database: Database) -> None:
        """Use a database whose schema is up to date; `open` is the way to make sure of that."""
        self._database = database
        self.lab = LabStore(database)
        """What the labs measured, in the same database."""
        self.chat = ChatStore(database)
        """The conversations, in the same database."""
        self.drafts = DraftStore(database)
        """What drafters did in the Speculation lab, in the same database."""
        self.router = RouterStore(database)
        """What the Router lab recorded and made, in the same database."""
        self._owner = Owner.this_process()
        self._unsaved: list[tuple[str, RunOutcome, Timeline | None]] = []
        self._unsaved_lock = threading.Lock()

    @classmethod
    def open(cls, database_url: str) -> Self:
        """Open the database, making its folder and bringing its schema up to date.

        Runs that a dead process left running are marked interrupted.
        """
        migrate(database_url)
        store = cls(Database(database_url))
        store._mark_interrupted()
        return store

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    # --- a run's life -----------------------------------------------------------------------------

    def create_run(
        self,
        request: GenerationRequest,
        *,
        session_id: str,
        environment: Mapping[str, Any],
        group_id: str | None = None,
    ) -> str:
        """Insert a run as running, and return its id: 32 hex digits that sort by time."""
        self._finish_unsaved()
        config = request.config
        created_at = now()
        run_id = new_id()
        with self._database.write() as session:
            session.add(
                Run(
                    id=run_id,
                    created_at=created_at,
                    status=RunStatus.RUNNING,
                    group_id=group_id,
                    session_id=session_id,
                    model=config.model,
                    backend=config.backend,
                    precision=config.precision,
                    config_hash=config.hash,
                    seed=config.sampling.seed,
                    owner_host=self._owner.host,
                    owner_pid=self._owner.pid,
                    owner_started=self._owner.started,
                    seen_at=created_at,
                    content=RunContent(
                        prompt=request.prompt,
                        messages=[message.to_dict() for message in request.messages],
                        config=config.to_dict(),
                        environment=dict(environment),
                    ),
                )
            )
        return run_id

    def save_progress(self, run_id: str, text: str, timeline: Timeline | None = None) -> None:
        """Keep what a running run has written so far, and show that its process is alive.

        Gives up at once where another process is writing: the next save will do as well.

        Raises:
            RunNotFoundError: the run was deleted, or is no longer running.
        """
        with self._database.write(hasty=True) as session:
            running = (Run.id == run_id, Run.status == RunStatus.RUNNING)
            if session.scalar(update(Run).where(*running).values(seen_at=now()).returning(Run.id)) is None:
                raise RunNotFoundError(run_id)
            session.execute(update(RunContent).where(RunContent.run_id == run_id).values(text=text))
            _keep_timeline(session, run_id, timeline)

    def finish_run(self, run_id: str, outcome: RunOutcome, timeline: Timeline | None = None) -> None:
        """Write how a run ended.

        Raises:
            RunNotFoundError: it was deleted meanwhile.
        """
        with self._database.write() as session:
            run = session.get(Run, run_id, options=[joinedload(Run.content)])
            if run is None:
                raise RunNotFoundError(run_id)
            run.status = outcome.status
            run.finish_reason = outcome.finish_reason
            run.seen_at = now()
            for name, value in (asdict(outcome.metrics) if outcome.metrics else {}).items():
                setattr(run, name, value)
            run.content.text = outcome.text
            run.content.error = outcome.error
            run.content.error_kind = outcome.error_kind
            run.content.cache = asdict(outcome.cache) if outcome.cache else None
            run.content.speculation = asdict(outcome.speculation) if outcome.speculation else None
            run.content.cascade = asdict(outcome.cascade) if outcome.cascade else None
            run.content.environment = {**run.content.environment, **(outcome.environment or {})}
            _keep_timeline(session, run_id, timeline)

    def keep_losslessness(self, run_id: str, losslessness: Losslessness) -> None:
        """Keep what reading a run's answer again showed; an earlier result gives way.

        Raises:
            RunNotFoundError: there is no such run.
        """
        with self._database.write() as session:
            _existing(session, run_id)
            session.execute(
                update(RunContent).where(RunContent.run_id == run_id).values(losslessness=asdict(losslessness))
            )

    def finish_later(self, run_id: str, outcome: RunOutcome, timeline: Timeline | None = None) -> None:
        """Remember how a run ended that cannot be written now; the next run made writes it first."""
        with self._unsaved_lock:
            self._unsaved.append((run_id, outcome, timeline))

    def _finish_unsaved(self) -> None:
        with self._unsaved_lock:
            while self._unsaved:
                with suppress(RunNotFoundError):
                    self.finish_run(*self._unsaved[0])
                self._unsaved.pop(0)

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
        """The runs with these ids, in the order asked for; ids that are not there are left out."""
        with self._database.read() as session:
            runs = session.scalars(
                select(Run).where(Run.id.in_(run_ids)).options(joinedload(Run.content), selectinload(Run.tags))
            )
            found = {run.id: to_record(run) for run in runs}
        return tuple(found[run_id] for run_id in run_ids if run_id in found)

    def timeline(self, run_id: str) -> Timeline | None:
        """The tokens of a run, one by one; ``None`` if none were kept."""
        with self._database.read() as session:
            packed = session.scalar(select(RunTimeline.payload).where(RunTimeline.run_id == run_id))
        return None if packed is None else Timeline.unpack(packed)

    def page(
        self, filter: RunFilter = ALL_RUNS, sort: RunSort = NEWEST_FIRST, *, limit: int = 50, offset: int = 0
    ) -> RunPage:
        """One page of the runs that the filter lets through."""
        wanted = conditions(filter)
        # The ids first: the long texts of the rows that are skipped are then never read.
        ids = select(Run.id).where(*wanted).order_by(*order(sort)).limit(limit).offset(offset).subquery()
        prompt = func.substr(RunContent.prompt, 1, PROMPT_PREVIEW_CHARACTERS)
        rows = (
            select(Run, prompt, RunContent.error, RunContent.config)
            .join(ids, ids.c.id == Run.id)
            .join(RunContent, RunContent.run_id == Run.id)
            .order_by(*order(sort))
            .options(selectinload(Run.tags))
        )
        with self._database.read() as session:
            found = tuple(to_summary(*row) for row in session.execute(rows))
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

    # --- what people say about runs ---------------------------------------------------------------

    def set_tags(self, run_id: str, tags: Collection[str]) -> None:
        """Replace a run's tags. Blank ones and repeats are dropped.

        Raises:
            RunNotFoundError: there is no such run.
            StoreError: a tag is longer than 60 characters.
        """
        names = {tag.strip() for tag in tags} - {""}
        if any(len(name) > TAG_CHARACTERS for name in names):
            raise StoreError(f"A tag has at most {TAG_CHARACTERS} characters.")
        with self._database.write() as session:
            run = _existing(session, run_id)
            session.execute(delete(RunTag).where(RunTag.run_id == run.id))
            session.add_all(RunTag(run_id=run.id, tag=name) for name in sorted(names))

    def set_note(self, run_id: str, note: str) -> None:
        """Replace a run's note.

        Raises:
            RunNotFoundError: there is no such run.
        """
        with self._database.write() as session:
            _existing(session, run_id).note = note

    def rate(self, run_id: str, rating: Rating) -> None:
        """Thumbs up (1), down (-1) or neither (0).

        Raises:
            RunNotFoundError: there is no such run.
        """
        with self._database.write() as session:
            _existing(session, run_id).rating = rating

    def delete(self, run_ids: Collection[str]) -> int:
        """Delete runs with all that belongs to them, and return how many there were."""
        with self._database.write() as session:
            return sum(
                len(session.scalars(delete(Run).where(Run.id.in_(some)).returning(Run.id)).all())
                for some in _batches(run_ids)
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

    def latency(self, filter: RunFilter = ALL_RUNS) -> Latency:
        """TTFT, TPOT and E2E percentiles over the finished runs among them."""
        with self._database.read() as session:
            return statistics.latency(session, filter)

    def over_time(self, filter: RunFilter, bucket: timedelta) -> tuple[TimeBucket, ...]:
        """Counts and percentiles per stretch of time, oldest first; stretches without runs are left out."""
        with self._database.read() as session:
            return statistics.over_time(session, filter, bucket)

    def by_configuration(
        self, filter: RunFilter = ALL_RUNS, *, limit: int = _MOST_CONFIGURATIONS
    ) -> tuple[ConfigurationStats, ...]:
        """Counts and percentiles of the most used configurations, the most used first."""
        with self._database.read() as session:
            return statistics.by_configuration(session, filter, limit)

    def count_configurations(self, filter: RunFilter = ALL_RUNS) -> int:
        """How many configurations the runs that the filter lets through have."""
        counted = select(func.count(Run.config_hash.distinct())).where(*conditions(filter))
        with self._database.read() as session:
            return session.scalar(counted) or 0

    def recent_speeds(self, model: str) -> dict[str, RecentSpeed]:
        """By precision, what the latest finished runs of a model say that Gearbox's own backend answered."""
        with self._database.read() as session:
            return statistics.recent_speeds(session, model, _RECENT_RUNS)

    # ----------------------------------------------------------------------------------------------

    def _mark_interrupted(self) -> None:
        moment = now()
        with self._database.write() as session:
            for run in session.scalars(select(Run).where(Run.status == RunStatus.RUNNING)):
                owner = Owner(host=run.owner_host, pid=run.owner_pid, started=run.owner_started)
                if owner.is_gone(seen_at=run.seen_at, now=moment):
                    run.status = RunStatus.INTERRUPTED


def _existing(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise RunNotFoundError(run_id)
    return run


def _keep_timeline(session: Session, run_id: str, timeline: Timeline | None) -> None:
    if timeline is not None:
        session.merge(RunTimeline(run_id=run_id, payload=timeline.pack()))


def _batches(run_ids: Collection[str]) -> list[list[str]]:
    ids = list(run_ids)
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
